// A sound component of no world that a server knows.
#include "plain.h"

extern "C" void exports_plain_run() {}
