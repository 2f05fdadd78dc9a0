;; An HTTP guest for tests. The first letter of the path says what it does:
;;   /h  200 with the header x-who: guest and the body "hello\n"
;;   /e  200, the request body comes back
;;   /b  200, a body of 1 MiB
;;   /c  tries CR LF in a header; 204 when that is refused, else 200
;;   /l  says Content-Length: 10 and writes 6    /m  says 3 and writes 6
;;   /o  writes "hello\n" and returns without closing its body    /d  writes "hello\n" and drops its body unfinished
;;   /x  answers with an error code    /u  returns without an answer
;;   /t  traps at once    /a  traps after the head of its response and "hello\n"
;;   /s  spins    /g  grows its memory until that is refused, then traps
(component $C
  (import "wasi:io/error@0.2.0" (instance $error (export "error" (type (sub resource)))))
  (alias export $error "error" (type $error-t))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (alias outer $C $error-t (type $err))
    (export "output-stream" (type $os (sub resource)))
    (export "input-stream" (type $is (sub resource)))
    (type $se-def (variant (case "last-operation-failed" (own $err)) (case "closed")))
    (export "stream-error" (type $se (eq $se-def)))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" (borrow $os)) (param "contents" (list u8)) (result (result (error $se)))))
    (export "[method]output-stream.blocking-splice"
      (func (param "self" (borrow $os)) (param "src" (borrow $is)) (param "len" u64) (result (result u64 (error $se)))))))
  (alias export $streams "output-stream" (type $output-stream))
  (alias export $streams "input-stream" (type $input-stream))
  (import "wasi:http/types@0.2.0" (instance $types
    (alias outer $C $output-stream (type $os))
    (alias outer $C $input-stream (type $is))
    (export "fields" (type $fields (sub resource)))
    (export "incoming-request" (type $request (sub resource)))
    (export "incoming-body" (type $incoming (sub resource)))
    (export "outgoing-response" (type $response (sub resource)))
    (export "outgoing-body" (type $outgoing (sub resource)))
    (export "response-outparam" (type $outparam (sub resource)))
    (type $he-def (variant (case "invalid-syntax") (case "forbidden") (case "immutable")))
    (export "header-error" (type $he (eq $he-def)))
    (type $dns-def (record (field "rcode" (option string)) (field "info-code" (option u16))))
    (export "DNS-error-payload" (type $dns (eq $dns-def)))
    (type $tls-def (record (field "alert-id" (option u8)) (field "alert-message" (option string))))
    (export "TLS-alert-received-payload" (type $tls (eq $tls-def)))
    (type $size-def (record (field "field-name" (option string)) (field "field-size" (option u32))))
    (export "field-size-payload" (type $size (eq $size-def)))
    (type $code-def (variant
      (case "DNS-timeout") (case "DNS-error" $dns) (case "destination-not-found") (case "destination-unavailable")
      (case "destination-IP-prohibited") (case "destination-IP-unroutable") (case "connection-refused")
      (case "connection-terminated") (case "connection-timeout") (case "connection-read-timeout")
      (case "connection-write-timeout") (case "connection-limit-reached") (case "TLS-protocol-error")
      (case "TLS-certificate-error") (case "TLS-alert-received" $tls) (case "HTTP-request-denied")
      (case "HTTP-request-length-required") (case "HTTP-request-body-size" (option u64))
      (case "HTTP-request-method-invalid") (case "HTTP-request-URI-invalid") (case "HTTP-request-URI-too-long")
      (case "HTTP-request-header-section-size" (option u32)) (case "HTTP-request-header-size" (option $size))
      (case "HTTP-request-trailer-section-size" (option u32)) (case "HTTP-request-trailer-size" $size)
      (case "HTTP-response-incomplete") (case "HTTP-response-header-section-size" (option u32))
      (case "HTTP-response-header-size" $size) (case "HTTP-response-body-size" (option u64))
      (case "HTTP-response-trailer-section-size" (option u32)) (case "HTTP-response-trailer-size" $size)
      (case "HTTP-response-transfer-coding" (option string)) (case "HTTP-response-content-coding" (option string))
      (case "HTTP-response-timeout") (case "HTTP-upgrade-failed") (case "HTTP-protocol-error") (case "loop-detected")
      (case "configuration-error") (case "internal-error" (option string))))
    (export "error-code" (type $code (eq $code-def)))
    (export "[constructor]fields" (func (result (own $fields))))
    (export "[method]fields.append"
      (func (param "self" (borrow $fields)) (param "name" string) (param "value" (list u8)) (result (result (error $he)))))
    (export "[method]incoming-request.path-with-query" (func (param "self" (borrow $request)) (result (option string))))
    (export "[method]incoming-request.consume" (func (param "self" (borrow $request)) (result (result (own $incoming)))))
    (export "[method]incoming-body.stream" (func (param "self" (borrow $incoming)) (result (result (own $is)))))
    (export "[constructor]outgoing-response" (func (param "headers" (own $fields)) (result (own $response))))
    (export "[method]outgoing-response.set-status-code"
      (func (param "self" (borrow $response)) (param "status-code" u16) (result (result))))
    (export "[method]outgoing-response.body" (func (param "self" (borrow $response)) (result (result (own $outgoing)))))
    (export "[method]outgoing-body.write" (func (param "self" (borrow $outgoing)) (result (result (own $os)))))
    (export "[static]outgoing-body.finish"
      (func (param "this" (own $outgoing)) (param "trailers" (option (own $fields))) (result (result (error $code)))))
    (export "[static]response-outparam.set"
      (func (param "param" (own $outparam)) (param "response" (result (own $response) (error $code)))))))
  (alias export $types "outgoing-body" (type $outgoing-body))
  (alias export $types "incoming-request" (type $incoming-request))
  (alias export $types "response-outparam" (type $response-outparam))

  (core module $libc
    (memory (export "memory") 2)
    (global $next (mut i32) (i32.const 65536))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (local.get $at)))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))

  (core func $write-and-flush
    (canon lower (func $streams "[method]output-stream.blocking-write-and-flush") (memory $memory) (realloc $realloc)))
  (core func $splice (canon lower (func $streams "[method]output-stream.blocking-splice") (memory $memory) (realloc $realloc)))
  (core func $fields-new (canon lower (func $types "[constructor]fields")))
  (core func $fields-append (canon lower (func $types "[method]fields.append") (memory $memory) (realloc $realloc)))
  (core func $path
    (canon lower (func $types "[method]incoming-request.path-with-query") (memory $memory) (realloc $realloc)))
  (core func $consume (canon lower (func $types "[method]incoming-request.consume") (memory $memory)))
  (core func $in-stream (canon lower (func $types "[method]incoming-body.stream") (memory $memory)))
  (core func $response-new (canon lower (func $types "[constructor]outgoing-response")))
  (core func $set-status (canon lower (func $types "[method]outgoing-response.set-status-code")))
  (core func $response-body (canon lower (func $types "[method]outgoing-response.body") (memory $memory)))
  (core func $out-stream (canon lower (func $types "[method]outgoing-body.write") (memory $memory)))
  (core func $finish (canon lower (func $types "[static]outgoing-body.finish") (memory $memory) (realloc $realloc)))
  (core func $set (canon lower (func $types "[static]response-outparam.set") (memory $memory) (realloc $realloc)))
  (core func $drop-stream (canon resource.drop $output-stream))
  (core func $drop-body (canon resource.drop $outgoing-body))

  (core module $main
    (import "libc" "memory" (memory 2))
    (import "host" "write-and-flush" (func $write-and-flush (param i32 i32 i32 i32)))
    (import "host" "splice" (func $splice (param i32 i32 i64 i32)))
    (import "host" "fields-new" (func $fields-new (result i32)))
    (import "host" "fields-append" (func $fields-append (param i32 i32 i32 i32 i32 i32)))
    (import "host" "path" (func $path (param i32 i32)))
    (import "host" "consume" (func $consume (param i32 i32)))
    (import "host" "in-stream" (func $in-stream (param i32 i32)))
    (import "host" "response-new" (func $response-new (param i32) (result i32)))
    (import "host" "set-status" (func $set-status (param i32 i32) (result i32)))
    (import "host" "response-body" (func $response-body (param i32 i32)))
    (import "host" "out-stream" (func $out-stream (param i32 i32)))
    (import "host" "finish" (func $finish (param i32 i32 i32 i32)))
    (import "host" "set" (func $set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
    (import "host" "drop-stream" (func $drop-stream (param i32)))
    (import "host" "drop-body" (func $drop-body (param i32)))
    (data (i32.const 0) "x-whoguesthello\ncontent-length103a\0d\0ab: c")
    (global $headers (mut i32) (i32.const 0))
    (global $response (mut i32) (i32.const 0))
    (global $body (mut i32) (i32.const 0))
    (global $stream (mut i32) (i32.const 0))

    ;; The handle of a result<own<…>> at 1024; traps on an error.
    (func $handle (result i32)
      (if (i32.load8_u (i32.const 1024)) (then unreachable))
      (i32.load (i32.const 1028)))
    ;; Adds a header; gives 1 when that was refused.
    (func $header (param $name i32) (param $name-len i32) (param $value i32) (param $value-len i32) (result i32)
      (call $fields-append (global.get $headers) (local.get $name) (local.get $name-len) (local.get $value)
        (local.get $value-len) (i32.const 1024))
      (i32.load8_u (i32.const 1024)))
    (func $respond (param $outparam i32) (param $status i32)
      (global.set $response (call $response-new (global.get $headers)))
      (drop (call $set-status (global.get $response) (local.get $status)))
      (call $response-body (global.get $response) (i32.const 1024))
      (global.set $body (call $handle))
      (call $set (local.get $outparam) (i32.const 0) (global.get $response)
        (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (call $out-stream (global.get $body) (i32.const 1024))
      (global.set $stream (call $handle)))
    (func $write (param $at i32) (param $len i32)
      (call $write-and-flush (global.get $stream) (local.get $at) (local.get $len) (i32.const 1024)))
    (func $hello (call $write (i32.const 10) (i32.const 6)))
    (func $end
      (call $drop-stream (global.get $stream))
      (call $finish (global.get $body) (i32.const 0) (i32.const 0) (i32.const 1024)))
    (func $echo (param $request i32)
      (local $source i32)
      (call $consume (local.get $request) (i32.const 1024))
      (call $in-stream (call $handle) (i32.const 1024))
      (local.set $source (call $handle))
      (block $done
        (loop $more
          (call $splice (global.get $stream) (local.get $source) (i64.const 65536) (i32.const 1024))
          (br_if $done (i32.load8_u (i32.const 1024)))
          (br $more))))
    (func $megabyte
      (local $chunks i32)
      (local.set $chunks (i32.const 256))
      (loop $more
        (call $write (i32.const 4096) (i32.const 4096))
        (if (i32.load8_u (i32.const 1024)) (then return))
        (br_if $more (local.tee $chunks (i32.sub (local.get $chunks) (i32.const 1))))))
    (func (export "handle") (param $request i32) (param $outparam i32)
      (local $what i32)
      (call $path (local.get $request) (i32.const 1024))
      (local.set $what (i32.load8_u offset=1 (i32.load (i32.const 1028))))
      (if (i32.eq (local.get $what) (i32.const 116)) (then unreachable))             ;; t
      (if (i32.eq (local.get $what) (i32.const 117)) (then return))                  ;; u
      (if (i32.eq (local.get $what) (i32.const 115)) (then (loop $l (br $l))))       ;; s
      (if (i32.eq (local.get $what) (i32.const 103))                                 ;; g
        (then (loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable))
      (if (i32.eq (local.get $what) (i32.const 120))                                 ;; x
        (then
          (call $set (local.get $outparam) (i32.const 1) (i32.const 38) (i32.const 0) (i64.const 0) (i32.const 0)
            (i32.const 0) (i32.const 0) (i32.const 0))
          (return)))
      (global.set $headers (call $fields-new))
      (drop (call $header (i32.const 0) (i32.const 5) (i32.const 5) (i32.const 5)))
      (if (i32.eq (local.get $what) (i32.const 108))                                 ;; l
        (then (drop (call $header (i32.const 16) (i32.const 14) (i32.const 30) (i32.const 2)))))
      (if (i32.eq (local.get $what) (i32.const 109))                                 ;; m
        (then (drop (call $header (i32.const 16) (i32.const 14) (i32.const 32) (i32.const 1)))))
      (if (i32.eq (local.get $what) (i32.const 99))                                  ;; c
        (then
          (call $respond (local.get $outparam)
            (select (i32.const 204) (i32.const 200)
              (call $header (i32.const 0) (i32.const 5) (i32.const 33) (i32.const 7)))))
        (else (call $respond (local.get $outparam) (i32.const 200))))
      (if (i32.eq (local.get $what) (i32.const 101)) (then (call $echo (local.get $request)) (call $end) (return)))
      (if (i32.eq (local.get $what) (i32.const 98)) (then (call $megabyte) (call $end) (return)))
      (if (i32.ne (local.get $what) (i32.const 99)) (then (call $hello)))
      (if (i32.eq (local.get $what) (i32.const 97)) (then unreachable))              ;; a
      (if (i32.eq (local.get $what) (i32.const 111)) (then (return)))                ;; o
      (if (i32.eq (local.get $what) (i32.const 100))                                 ;; d
        (then (call $drop-stream (global.get $stream)) (call $drop-body (global.get $body)) (return)))
      (call $end)))
  (core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "host" (instance
      (export "write-and-flush" (func $write-and-flush)) (export "splice" (func $splice))
      (export "fields-new" (func $fields-new)) (export "fields-append" (func $fields-append))
      (export "path" (func $path)) (export "consume" (func $consume)) (export "in-stream" (func $in-stream))
      (export "response-new" (func $response-new)) (export "set-status" (func $set-status))
      (export "response-body" (func $response-body)) (export "out-stream" (func $out-stream))
      (export "finish" (func $finish)) (export "set" (func $set))
      (export "drop-stream" (func $drop-stream)) (export "drop-body" (func $drop-body))))))
  (func $handle (param "request" (own $incoming-request)) (param "response-out" (own $response-outparam))
    (canon lift (core func $main "handle") (memory $memory) (realloc $realloc)))
  (instance $handler (export "handle" (func $handle)))
  (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))
