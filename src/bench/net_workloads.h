// The workloads of connections: native processes on sockets. The client is rusm_tcp_load, a program beside this one, as
// for every server that is compared.
#pragma once

#include "bench/workload.h"

namespace rusm::bench {

// 64 connections, each with 64 bytes in flight, sent back by a process each; echoes/s.
Result<Measurement> tcp_echo(const Options& options);
// 64 connections at a time that are opened, send a byte, get it back and are closed; connections/s.
Result<Measurement> connection_storm(const Options& options);
// As many idle connections as descriptors allow, up to 10,000, each with its process; bytes of this program's memory
// for each. What the kernel keeps for a socket is not in it.
Result<Measurement> connection_scale(const Options& options);

}  // namespace rusm::bench
