%% The workloads in plain Erlang/OTP. One workload per emulator start; one line of JSON on stdout.
-module(bench).
-export([run/1, empty/0, idle/0, idle_hib/0, sup_child/1, burst_child/1, subscriber/2]).
-behaviour(supervisor).
-export([init/1]).

run(W) -> w(W), halt(0).

now_ns() -> erlang:monotonic_time(nanosecond).
cores() -> erlang:system_info(schedulers_online).

emit(W, Val, Unit, Ex) ->
    E = [io_lib:format(",\"~s\":~s", [K, js(V)]) || {K, V} <- Ex],
    io:format("{\"peer\":\"beam\",\"workload\":\"~s\",\"value\":~s,\"unit\":\"~s\"~s}~n",
              [W, js(Val), Unit, E]).
js(V) when is_integer(V) -> integer_to_list(V);
js(V) when is_float(V) -> float_to_list(V, [{decimals, 3}, compact]);
js(V) -> ["\"", V, "\""].

%% p-quantile (in microseconds) of an atomics array of nanoseconds
quantiles(A, N) ->
    L = list_to_tuple(lists:sort([atomics:get(A, I) || I <- lists:seq(1, N)])),
    Q = fun(P) -> element(max(1, min(N, ceil(P * N))), L) / 1000 end,
    [{"p50_us", Q(0.5)}, {"p99_us", Q(0.99)}, {"p999_us", Q(0.999)}].

rss() ->
    {ok, B} = file:read_file("/proc/self/status"),
    {match, [K]} = re:run(B, "VmRSS:\\s+(\\d+) kB", [{capture, [1], list}]),
    list_to_integer(K) * 1024.

join(Ms) -> [receive {'DOWN', R, _, _, _} -> ok end || {_, R} <- Ms], ok.

%% ---------------------------------------------------------------- spawn
empty() -> ok.

w("spawn") ->
    {T, N} = spawn_run(fun(K) -> spawn_n(K) end, true),
    emit("spawn", N * 1.0e9 / T, "processes/s", [{"n", N}, {"await", "process_count"}]);
w("spawn-monitor") ->
    {T, N} = spawn_run(fun(K) -> spawn_mon(K), down(K) end, false),
    emit("spawn-monitor", N * 1.0e9 / T, "processes/s", [{"n", N}, {"await", "DOWN of each"}]);

%% ---------------------------------------------------------------- ping-pong
w("pingpong") ->
    N = 1500000,
    pairs(1, 100000),
    T = pairs(1, N),
    LN = 300000, A = atomics:new(LN, []),
    P = spawn(fun() -> receive {peer, X} -> pong(X) end end),
    join([spawn_monitor(fun() -> P ! {peer, self()}, rtt(P, 0, LN, A) end)]),
    emit("pingpong", 2 * N * 1.0e9 / T, "msgs/s", [{"roundtrips", N} | quantiles(A, LN)]);
w("pingpong-many") ->
    N = 500000, K = 2 * cores(),
    pairs(K, 50000),
    T = pairs(K, N),
    emit("pingpong-many", 2 * K * N * 1.0e9 / T, "msgs/s", [{"pairs", K}]);

%% ---------------------------------------------------------------- fan-in
w("fanin") -> fanin("fanin", []);
w("fanin-offheap") -> fanin("fanin-offheap", [{message_queue_data, off_heap}]);

%% ---------------------------------------------------------------- ring
w("ring") ->
    Size = 1000, Hops = 3000000,
    Self = self(),
    Last = spawn(fun() -> receive {next, P} -> ring(P, Self) end end),
    First = lists:foldl(fun(_, Nx) -> spawn(fun() -> ring(Nx, Self) end) end,
                        Last, lists:seq(1, Size - 1)),
    Last ! {next, First},
    First ! 100000, receive done -> ok end,
    T0 = now_ns(),
    First ! Hops, receive done -> ok end,
    emit("ring", Hops * 1.0e9 / (now_ns() - T0), "hops/s", [{"processes", Size}, {"hops", Hops}]);

%% ---------------------------------------------------------------- faults
w("fault-recovery") ->
    logger:set_primary_config(level, none),
    N = 500000, A = atomics:new(N, []), X = atomics:new(1, []),
    Go = fun(K) ->
        {Pid, R} = spawn_monitor(fun() ->
            process_flag(trap_exit, true),
            spawn_link(fun() -> crash(A, X, K) end),
            parent(A, X, K) end),
        receive {'DOWN', R, _, Pid, _} -> ok end end,
    Go(20000),
    T0 = now_ns(), Go(N), T = now_ns() - T0,
    emit("fault-recovery", N * 1.0e9 / T, "restarts/s", [{"restarts", N} | quantiles(A, N)]);
w("fault-recovery-supervisor") ->
    %% fresh supervisors of 500 restarts each: OTP keeps every restart of the period in a
    %% list that it filters at each restart, so one long burst would measure that list
    logger:set_primary_config(level, none),
    sup_burst(500),
    N = 500, Reps = 60,
    Ts = [sup_burst(N) || _ <- lists:seq(1, Reps)],
    T2 = sup_burst(20000),
    emit("fault-recovery-supervisor", N * Reps * 1.0e9 / lists:sum(Ts), "restarts/s",
         [{"burst", N}, {"bursts", Reps}, {"one_burst_of_20000_per_s", 20000 * 1.0e9 / T2}]);
w("fault-recovery-burst") ->
    %% all children of one supervisor killed at once; until as many have started again
    logger:set_primary_config(level, none),
    N = 20000, Cnt = atomics:new(1, []),
    {ok, S} = supervisor:start_link(?MODULE, {burst, self(), Cnt, N}),
    Ps = [begin {ok, P} = supervisor:start_child(S, []), P end || _ <- lists:seq(1, N)],
    receive all_started -> ok end,
    atomics:put(Cnt, 1, 0),
    T0 = now_ns(),
    [exit(P, kill) || P <- Ps],
    receive all_started -> ok end,
    T = now_ns() - T0,
    emit("fault-recovery-burst", N * 1.0e9 / T, "restarts/s", [{"children", N}]);

%% ---------------------------------------------------------------- publish and subscribe
w("pubsub-fanout") ->
    Subscribers = 1000, Warm = 200, N = 4000,
    {ok, _} = pg:start_link(bench),
    Main = self(),
    [spawn(?MODULE, subscriber, [Main, [Warm, N]]) || _ <- lists:seq(1, Subscribers)],
    all(joined, Subscribers),
    publish(Warm), all(received, Subscribers),
    T0 = now_ns(),
    publish(N), all(received, Subscribers),
    T = now_ns() - T0,
    emit("pubsub-fanout", Subscribers * N * 1.0e9 / T, "deliveries/s",
         [{"subscribers", Subscribers}, {"publications", N}]);

%% ---------------------------------------------------------------- servers
w("tcp-echo") -> serve(fun echo/1);
w("connection-storm") -> serve(fun echo_once/1);

%% ---------------------------------------------------------------- memory
w("idle-memory") -> idle("idle-memory", idle);
w("idle-memory-hibernate") -> idle("idle-memory-hibernate", idle_hib);

%% ---------------------------------------------------------------- timers
w("timers") ->
    N = 1000000, C = cores(), Per = N div C,
    T0 = now_ns(),
    S = self(),
    Ms = [spawn_monitor(fun() ->
              set_timers(Per), S ! {set, now_ns() - T0}, fired(Per) end) || _ <- lists:seq(1, C)],
    Set = lists:max([receive {set, X} -> X end || _ <- Ms]),
    join(Ms),
    T = now_ns() - T0,
    %% set + cancel before firing
    C0 = now_ns(),
    join([spawn_monitor(fun() -> cancel_timers(Per) end) || _ <- lists:seq(1, C)]),
    CT = now_ns() - C0,
    emit("timers", N * 1.0e9 / T, "timers/s",
         [{"timers", N}, {"due_ms", "1..100"}, {"set_per_s", N * 1.0e9 / Set},
          {"set_cancel_per_s", N * 1.0e9 / CT}]);

%% ---------------------------------------------------------------- registry
w("registry") ->
    C = cores(), Names = 1000, L = 3000000, R = 500000,
    Ps = [{name(1, I), spawn(?MODULE, idle, [])} || I <- lists:seq(1, Names)],
    [register(Nm, P) || {Nm, P} <- Ps],
    Tup = list_to_tuple([Nm || {Nm, _} <- Ps]),
    T0 = now_ns(),
    join([spawn_monitor(fun() -> lookups(Tup, Names, L) end) || _ <- lists:seq(1, C)]),
    T1 = now_ns(),
    join([spawn_monitor(fun() ->
             P = spawn(?MODULE, idle, []),
             regs(P, name(100 + K, 1), R) end) || K <- lists:seq(1, C)]),
    T2 = now_ns(),
    emit("registry", C * L * 1.0e9 / (T1 - T0), "lookups/s",
         [{"names", Names}, {"processes", C},
          {"register_unregister_pairs_per_s", C * R * 1.0e9 / (T2 - T1)}]).

spawn_n(0) -> ok;
spawn_n(K) -> spawn(?MODULE, empty, []), spawn_n(K - 1).
spawn_mon(0) -> ok;
spawn_mon(K) -> spawn_monitor(?MODULE, empty, []), spawn_mon(K - 1).
down(0) -> ok;
down(K) -> receive {'DOWN', _, _, _, _} -> down(K - 1) end.

spawn_run(F, Poll) ->
    C = cores(), Batch = 100000, Per = Batch div C, Batches = 20,
    Self = self(),
    Sp = [spawn_opt(fun() -> spawner(Self, F, Per) end, [{scheduler, I}]) || I <- lists:seq(1, C)],
    timer:sleep(20),
    Base = erlang:system_info(process_count),
    One = fun() ->
        [P ! go || P <- Sp],
        [receive {spawned, P} -> ok end || P <- Sp],
        case Poll of true -> drain(Base); false -> ok end end,
    One(), One(),
    T0 = now_ns(),
    [One() || _ <- lists:seq(1, Batches)],
    {now_ns() - T0, Batches * Per * C}.

spawner(Main, F, Per) -> receive go -> F(Per), Main ! {spawned, self()}, spawner(Main, F, Per) end.

drain(Base) ->
    case erlang:system_info(process_count) =< Base of
        true -> ok;
        false -> erlang:yield(), drain(Base)
    end.

pairs(K, N) ->
    Self = self(),
    Ms = [spawn_monitor(fun() ->
            Me = self(),
            P = spawn(fun() -> pong(Me) end),
            Self ! ready, receive go -> ok end,
            ping(P, N), P ! stop end) || _ <- lists:seq(1, K)],
    [receive ready -> ok end || _ <- Ms],
    T0 = now_ns(),
    [P ! go || {P, _} <- Ms],
    join(Ms),
    now_ns() - T0.

ping(_, 0) -> ok;
ping(P, N) -> P ! N, receive _ -> ping(P, N - 1) end.
pong(P) -> receive stop -> ok; M -> P ! M, pong(P) end.
rtt(P, N, N, _) -> P ! stop;
rtt(P, I, N, A) ->
    T0 = now_ns(),
    P ! I,
    receive _ -> ok end,
    atomics:put(A, I + 1, now_ns() - T0),
    rtt(P, I + 1, N, A).

fanin(W, Opts) ->
    Prod = 8, Per = 250000,
    fanin_run(Prod, 20000, Opts),
    T = fanin_run(Prod, Per, Opts),
    emit(W, Prod * Per * 1.0e9 / T, "msgs/s", [{"producers", Prod}, {"per_producer", Per}]).
fanin_run(Prod, Per, Opts) ->
    {C, R} = spawn_opt(fun() -> sink(Prod * Per) end, [monitor | Opts]),
    Ps = [spawn(fun() -> receive go -> produce(C, Per) end end) || _ <- lists:seq(1, Prod)],
    T0 = now_ns(),
    [P ! go || P <- Ps],
    receive {'DOWN', R, _, _, _} -> ok end,
    now_ns() - T0.
sink(0) -> ok;
sink(N) -> receive _ -> sink(N - 1) end.
produce(_, 0) -> ok;
produce(C, N) -> C ! N, produce(C, N - 1).

ring(Next, Main) ->
    receive
        0 -> Main ! done;
        N -> Next ! (N - 1)
    end,
    ring(Next, Main).

%% the child stamps the instant at which it dies; its successor takes the difference
crash(A, X, K) ->
    case atomics:get(X, 1) of
        0 -> ok;
        T -> atomics:put(A, K, now_ns() - T)
    end,
    atomics:put(X, 1, now_ns()),
    exit(boom).
parent(_, X, 0) -> atomics:put(X, 1, 0);
parent(A, X, K) ->
    receive {'EXIT', _, boom} ->
        spawn_link(fun() -> crash(A, X, max(1, K - 1)) end),
        parent(A, X, K - 1)
    end.

init({burst, Main, Cnt, N}) ->
    {ok, {#{strategy => simple_one_for_one, intensity => 1000000000, period => 1},
          [#{id => c, start => {?MODULE, burst_child, [{Main, Cnt, N}]}, restart => permanent}]}};
init({sup, Main, Cnt, N}) ->
    {ok, {#{strategy => one_for_one, intensity => 1000000000, period => 1},
          [#{id => c, start => {?MODULE, sup_child, [{Main, Cnt, N}]}, restart => permanent}]}}.
sup_child({Main, Cnt, N}) ->
    {ok, spawn_link(fun() ->
        case atomics:add_get(Cnt, 1, 1) of
            K when K =< N -> exit(boom);
            _ -> Main ! sup_done, receive stop -> ok end
        end end)}.
sup_burst(N) ->
    Cnt = atomics:new(1, []),
    T0 = now_ns(),
    {ok, S} = supervisor:start_link(?MODULE, {sup, self(), Cnt, N}),
    receive sup_done -> ok end,
    T = now_ns() - T0,
    unlink(S), R = monitor(process, S), exit(S, shutdown),
    receive {'DOWN', R, _, _, _} -> ok end,
    T.

burst_child({Main, Cnt, N}) ->
    {ok, spawn_link(fun() ->
        case atomics:add_get(Cnt, 1, 1) of N -> Main ! all_started; _ -> ok end,
        receive stop -> ok end end)}.

subscriber(Main, Rounds) ->
    ok = pg:join(bench, news, self()),
    Main ! joined,
    [begin sink(N), Main ! received end || N <- Rounds].
publish(0) -> ok;
publish(N) -> [P ! N || P <- pg:get_members(bench, news)], publish(N - 1).
all(_, 0) -> ok;
all(M, N) -> receive M -> all(M, N - 1) end.

%% prints its port, and serves until its input ends
serve(F) ->
    {ok, L} = gen_tcp:listen(0, [binary, {packet, raw}, {active, false}, {backlog, 1024}, {nodelay, true},
                                 {reuseaddr, true}, {ip, {127, 0, 0, 1}}]),
    [spawn(fun() -> acceptor(L, F) end) || _ <- lists:seq(1, 10 * cores())],
    {ok, Port} = inet:port(L),
    io:format("~b~n", [Port]),
    eof = io:get_line("").
acceptor(L, F) ->
    {ok, S} = gen_tcp:accept(L),
    P = spawn(fun() -> receive go -> F(S), gen_tcp:close(S) end end),
    ok = gen_tcp:controlling_process(S, P),
    P ! go,
    acceptor(L, F).
echo(S) ->
    case gen_tcp:recv(S, 0) of
        {ok, B} -> gen_tcp:send(S, B), echo(S);
        {error, _} -> ok
    end.
echo_once(S) ->
    case gen_tcp:recv(S, 1) of
        {ok, B} -> gen_tcp:send(S, B);
        {error, _} -> ok
    end.

idle() -> receive stop -> ok end.
idle_hib() -> erlang:hibernate(?MODULE, idle, []).
idle(W, F) ->
    N = 1000000,
    R0 = rss(), T0 = now_ns(),
    Ps = [spawn(?MODULE, F, []) || _ <- lists:seq(1, N)],
    T = now_ns() - T0,
    timer:sleep(300),
    R1 = rss(),
    {memory, M} = process_info(hd(Ps), memory),
    emit(W, (R1 - R0) / N, "bytes/process (RSS)",
         [{"processes", N}, {"process_info_memory", M}, {"rss_total_mb", R1 div 1000000},
          {"create_per_s", N * 1.0e9 / T}]).

set_timers(0) -> ok;
set_timers(N) -> erlang:send_after(1 + N rem 100, self(), t), set_timers(N - 1).
fired(0) -> ok;
fired(N) -> receive t -> fired(N - 1) end.
cancel_timers(0) -> ok;
cancel_timers(N) ->
    erlang:cancel_timer(erlang:send_after(60000, self(), t)), cancel_timers(N - 1).

name(K, I) -> list_to_atom("n" ++ integer_to_list(K) ++ "_" ++ integer_to_list(I)).
lookups(_, _, 0) -> ok;
lookups(T, S, N) ->
    true = is_pid(whereis(element(1 + N rem S, T))), lookups(T, S, N - 1).
regs(_, _, 0) -> ok;
regs(P, Nm, N) -> register(Nm, P), unregister(Nm), regs(P, Nm, N - 1).
