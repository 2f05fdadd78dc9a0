//! Compresses and decompresses texts that it makes up, and compares. A difference traps.

const BYTES: usize = 8 << 20;
const ROUNDS: u32 = 3;
const LEVEL: u8 = 6;
const WORDS: [&str; 16] = [
    "process ", "message ", "mailbox ", "link ", "monitor ", "supervisor ", "restart ", "node ", "guest ", "memory ",
    "instance ", "of ", "the ", "a ", "ends.\n", "begins; ",
];

/// Words in no order, with numbers between them: about as compressible as a log.
fn text(seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    let mut text = Vec::with_capacity(BYTES + 32);
    while text.len() < BYTES {
        let number = next();
        match WORDS.get((number % 20) as usize) {
            Some(word) => text.extend_from_slice(word.as_bytes()),
            None => text.extend_from_slice((number >> 8).to_string().as_bytes()),
        }
    }
    text
}

#[unsafe(no_mangle)]
pub extern "C" fn run() {
    for round in 0..ROUNDS {
        let text = text(0x9e37_79b9_u32.wrapping_mul(round + 1));
        let packed = miniz_oxide::deflate::compress_to_vec(&text, LEVEL);
        let unpacked = miniz_oxide::inflate::decompress_to_vec(&packed);
        if !unpacked.is_ok_and(|unpacked| unpacked == text) {
            std::process::abort();
        }
    }
}
