%% SPDX-License-Identifier: MIT
%%
%% The cases of yoke-bench by Erlang processes on one scheduler: one repetition of the case that is
%% named, its result as one number. What is measured is processor time of the whole machine, in
%% steps of a millisecond. An Erlang mailbox has no bound, so that a channel with room for 128 does
%% not exist; a rendezvous is a message and its acknowledgement.
-module(yoke_peer).
-export([main/1]).

main([Name]) ->
    try measure(Name) of
        none -> halt(3);
        Number -> io:format("~.3f~n", [float(Number)]), halt(0)
    catch
        Class:Reason:Stack ->
            io:format(standard_error, "~p~n", [{Class, Reason, Stack}]),
            halt(1)
    end.

measure(yield) -> each(2000000, fun yields/1);
measure(spawn_join_1) -> each(400000, fun(N) -> spawns(N, 1) end);
measure(spawn_join_1000) -> each(400000, fun(N) -> spawns(N, 1000) end);
measure(chan_rendezvous) -> each(1000000, fun rendezvous/1);
measure(raise) -> each(200000, fun raises/1);
measure(idle_20k) -> element(2, gather(20000));
measure(idle_1m) -> element(2, gather(1000000));
measure(spawn_1m) -> element(1, gather(1000000));
measure(cancel_20k) -> gather(20000), element(3, gather(20000));
measure(cancel_100k) -> gather(100000), element(3, gather(100000));
measure(sleep_10k) -> sleeps();
measure(_) -> none.

cpu() -> element(1, erlang:statistics(runtime)) * 1.0e6.

%% Times Operation(N) after Operation(N div 8 + 1): ns per one of N.
each(N, Operation) ->
    Operation(N div 8 + 1),
    Began = cpu(),
    Operation(N),
    (cpu() - Began) / N.

await(0) -> ok;
await(N) -> receive {'DOWN', _, process, _, _} -> await(N - 1) end.

start(0, _) -> ok;
start(N, Body) -> spawn_monitor(Body), start(N - 1, Body).

yields(N) -> start(2, fun() -> take_turns(N div 2) end), await(2).

take_turns(0) -> ok;
take_turns(N) -> erlang:yield(), take_turns(N - 1).

spawns(N, _) when N =< 0 -> ok;
spawns(N, Batch) -> start(Batch, fun() -> ok end), await(Batch), spawns(N - Batch, Batch).

rendezvous(N) ->
    {Consumer, _} = spawn_monitor(fun() -> consume(N) end),
    spawn_monitor(fun() -> produce(Consumer, N) end),
    await(2).

produce(_, 0) -> ok;
produce(Consumer, N) ->
    Consumer ! {self(), N},
    receive ok -> produce(Consumer, N - 1) end.

consume(0) -> ok;
consume(N) -> receive {From, _} -> From ! ok, consume(N - 1) end.

raises(0) -> ok;
raises(N) ->
    try error({bad_item, integer_to_list(N)}) catch error:{bad_item, _}:_ -> ok end,
    raises(N - 1).

kib_of(Path, Key) ->
    {ok, File} = file:open(Path, [read, raw, binary]),
    {ok, Text} = read_all(File, <<>>),
    file:close(File),
    {match, [Kib]} = re:run(Text, Key ++ ":\\s*(\\d+) kB", [{capture, all_but_first, list}]),
    list_to_integer(Kib) * 1024.

read_all(File, Text) ->
    case file:read(File, 65536) of
        {ok, More} -> read_all(File, <<Text/binary, More/binary>>);
        eof -> {ok, Text}
    end.

resident() -> kib_of("/proc/self/smaps_rollup", "Rss") + kib_of("/proc/self/status", "VmPTE").

sleeper(Parent) ->
    Parent ! asleep,
    receive stop -> ok after 3600000 -> ok end.

spawn_sleepers(0, Pids) -> Pids;
spawn_sleepers(N, Pids) ->
    Parent = self(),
    {Pid, _} = spawn_monitor(fun() -> sleeper(Parent) end),
    spawn_sleepers(N - 1, [Pid | Pids]).

await_asleep(0) -> ok;
await_asleep(N) -> receive asleep -> await_asleep(N - 1) end.

%% N processes asleep, and then told to exit: {ns to spawn one, bytes of one, ms to cancel all}.
gather(N) ->
    erlang:garbage_collect(),
    Before = resident(),
    Began = cpu(),
    Pids = spawn_sleepers(N, []),
    await_asleep(N),
    Spawned = cpu(),
    After = resident(),
    CancelBegan = cpu(),
    lists:foreach(fun(Pid) -> exit(Pid, shutdown) end, Pids),
    await(N),
    {(Spawned - Began) / N, (After - Before) / N, (cpu() - CancelBegan) / 1.0e6}.

nap(0) -> ok;
nap(Rounds) -> timer:sleep(10), nap(Rounds - 1).

naps() -> start(10000, fun() -> nap(20) end), await(10000).

sleeps() ->
    naps(),
    Began = cpu(),
    naps(),
    (cpu() - Began) / (10000 * 20).
