//! The checked-in C header says what the library does.

use std::path::Path;

#[test]
fn the_header_is_up_to_date() {
    let engine = Path::new(env!("CARGO_MANIFEST_DIR"));
    let checked_in = engine.join("../include/rusm_bridge.h");
    let config = cbindgen::Config::from_file(engine.join("cbindgen.toml")).unwrap();
    let mut generated = Vec::new();
    cbindgen::Builder::new()
        .with_crate(engine)
        .with_config(config)
        .generate()
        .unwrap()
        .write(&mut generated);
    let generated = String::from_utf8(generated).unwrap();
    if std::env::var_os("RUSM_RENEW_HEADER").is_some() {
        std::fs::create_dir_all(checked_in.parent().unwrap()).unwrap();
        std::fs::write(&checked_in, &generated).unwrap();
    }
    let present = std::fs::read_to_string(&checked_in).unwrap_or_default();
    assert!(
        present == generated,
        "bridge/include/rusm_bridge.h is out of date; renew it with RUSM_RENEW_HEADER=1 cargo test --release header"
    );
}
