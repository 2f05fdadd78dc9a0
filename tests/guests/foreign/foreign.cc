// An HTTP handler that needs an interface which no host has.
#include "foreign.h"

extern "C" void exports_wasi_http_incoming_handler_handle(exports_wasi_http_incoming_handler_own_incoming_request_t,
                                                          exports_wasi_http_incoming_handler_own_response_outparam_t) {
  if (nobody_offers_thing_ask() == 0) __builtin_trap();
}
