# SPDX-License-Identifier: MIT
"""gdb commands for programs that use yoke; of a live process, and of a core file.

    (gdb) source /usr/share/yoke/yoke-gdb.py
    (gdb) yoke tasks          the tree of tasks, and what each waits for
    (gdb) yoke bt TASK        the backtrace of a task, by id or name
    (gdb) yoke scopes TASK    its open scopes, innermost first
    (gdb) yoke why TASK       what cancels it: the causes of the cancelled scopes around it

Runtimes are found through the thread-local yk_runtime_current of each thread; so libthread_db must
work, as it does for bt. A task's stack is walked by its saved stack pointer, frame pointer and place.
"""
import time

import gdb

STATES = {1: "is ready to run", 2: "runs", 3: "waits for", 4: "is done"}
FRAMES_MAX = 64


def text(value):
    return value.string(errors="replace") if int(value) else "?"


def site(value):
    return f"{text(value['file'])}:{int(value['line'])}" if int(value) else "?"


def container(node, kind, member):
    """What a struct yk_list is part of."""
    kind = gdb.lookup_type(kind)
    offset = [field.bitpos // 8 for field in kind.fields() if field.name == member][0]
    return gdb.Value(int(node) - offset).cast(kind.pointer())


def nodes(head):
    """The members of a list, given the address of its head; ends when the list is broken."""
    node = head["next"]
    for _ in range(1000000):
        if int(node) == int(head):
            return
        yield node
        node = node["next"]


def runtimes():
    """Pairs of a thread and the runtime that it runs."""
    selected = gdb.selected_thread()
    found = []
    for thread in gdb.selected_inferior().threads():
        thread.switch()
        try:
            runtime = gdb.parse_and_eval("yk_runtime_current")
        except gdb.error:
            continue
        if int(runtime) and int(runtime) not in [int(r) for _, r in found]:
            found.append((thread, runtime))
    if selected is not None:
        selected.switch()
    if not found:
        raise gdb.GdbError("no thread runs a yoke runtime")
    try:
        for _, runtime in found:
            for task in tasks_of(runtime["root"]["scope"]):
                int(task["state"])
    except gdb.MemoryError:
        raise gdb.GdbError("the stacks of tasks are not there: gdb's own generate-core-file leaves "
                           "them out, as it can't read over guard pages; a core from the kernel "
                           "has them") from None
    return found


def now_of(runtime):
    """The time; in a core, that of the runtime's last turn."""
    connection = getattr(gdb.selected_inferior(), "connection", None)
    if connection is not None and connection.type == "native":
        return time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    return int(runtime["now_ns"])


def tasks_of(scope):
    """All tasks in a scope and the scopes inside it."""
    for node in nodes(scope["tasks"].address):
        yield container(node, "struct yk_task", "in_scope")
    for node in nodes(scope["children"].address):
        yield from tasks_of(container(node, "struct yoke_scope", "sibling"))


def scopes_of(task):
    """Its open scopes, innermost first."""
    scope = task["scope"]
    while int(scope) and int(scope["task"]) == int(task):
        yield scope
        scope = scope["parent"]


def find(argument):
    if not argument:
        raise gdb.GdbError("which task? give its id or name")
    matches = [(thread, runtime, task) for thread, runtime in runtimes()
               for task in tasks_of(runtime["root"]["scope"])
               if argument in (str(int(task["locus"]["task_id"])), text(task["locus"]["task_name"]))]
    if not matches:
        raise gdb.GdbError(f"no task {argument}; see: yoke tasks")
    if len(matches) > 1:
        ids = ", ".join(str(int(match[2]["locus"]["task_id"])) for match in matches)
        raise gdb.GdbError(f"several tasks are called {argument}: give one of the ids {ids}")
    return matches[0]


def name_of(task):
    return f"task {text(task['locus']['task_name'])} ({int(task['locus']['task_id'])})"


def state_of(task, runtime):
    state = int(task["state"])
    words = STATES.get(state, "is in a state that is none")
    if state == 3:
        seconds = (now_of(runtime) - int(task["since_ns"])) / 1e9
        words += f" {text(task['waiting_for'])} since {seconds:.1f} s"
    return words


def scope_line(scope):
    kind = "nursery" if scope["nursery"] else "scope"
    line = f'{kind} "{text(scope["name"])}" ({int(scope["id"])}), opened at {site(scope["site"])}'
    if scope["shield"]:
        line += ", shield"
    if int(scope["timer"]["place"]):
        line += f", deadline at {int(scope['timer']['deadline_ns']) / 1e9:.3f} s"
    if scope["cancel_called"]:
        line += ", cancelled"
    elif scope["effective"]:
        line += ", cancelled from around it"
    return line


class Yoke(gdb.Command):
    """Tasks and scopes of a program that uses yoke."""

    def __init__(self):
        super().__init__("yoke", gdb.COMMAND_STACK, prefix=True)


class Tasks(gdb.Command):
    """The tree of tasks, and what each waits for."""

    def __init__(self):
        super().__init__("yoke tasks", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        for _, runtime in runtimes():
            tasks = list(tasks_of(runtime["root"]["scope"]))
            actor = runtime["actor"]["name"].string()
            print(f"task tree of {actor}@{int(runtime['actor']['pid'])}: {len(tasks)} tasks")
            self.below(runtime, tasks, int(runtime["root"].address), 0)

    def below(self, runtime, tasks, nursery, depth):
        for task in tasks:
            if int(task["nursery"]) != nursery:
                continue
            print(f"{'    ' * depth}{name_of(task)} {state_of(task, runtime)}, "
                  f"spawned at {site(task['site'])}")
            for scope in reversed(list(scopes_of(task))):
                print(f"{'    ' * depth}  {scope_line(scope)}")
                if scope["nursery"]:
                    self.below(runtime, tasks, int(scope), depth + 1)


class Backtrace(gdb.Command):
    """The backtrace of a task, by id or name."""

    def __init__(self):
        super().__init__("yoke bt", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        thread, _, task = find(argument)
        print(f"{name_of(task)}:")
        if int(task["state"]) == 2:
            thread.switch()
            gdb.execute("bt")
            return
        frame, place = int(task["coro"]["fp"]), int(task["coro"]["pc"])
        low, high = int(task["locus"]["stack_low"]), int(task["locus"]["stack_high"])
        word = gdb.lookup_type("unsigned long")
        for number in range(FRAMES_MAX):
            self.show(number, place)
            if not low <= frame <= high - 2 * word.sizeof:
                return
            pair = gdb.Value(frame).cast(word.pointer())
            before, place = int(pair[0]), int(pair[1])
            if place == 0:
                return
            frame = before if before > frame else 0

    @staticmethod
    def show(number, place):
        at = place - (1 if number else 0)  # the call is before the address that it returns to
        line = gdb.find_pc_line(at)
        block = gdb.block_for_pc(at)
        while block is not None and block.function is None:
            block = block.superblock
        name = block.function.name if block is not None else "?"
        where = f" at {line.symtab.filename}:{line.line}" if line.symtab is not None else ""
        print(f"#{number:<3}{place:#x} in {name}{where}")


class Scopes(gdb.Command):
    """The open scopes of a task, innermost first."""

    def __init__(self):
        super().__init__("yoke scopes", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        _, _, task = find(argument)
        for scope in scopes_of(task):
            print(scope_line(scope))


class Why(gdb.Command):
    """What cancels a task: the causes of the cancelled scopes that it sees, innermost first."""

    def __init__(self):
        super().__init__("yoke why", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        _, _, task = find(argument)
        scope = task["scope"]
        if not scope["effective"]:
            print(f"{name_of(task)} is not being cancelled")
            return
        while int(scope) and scope["effective"]:
            if scope["cancel_called"]:
                print(scope_line(scope))
                self.chain(scope["cause"])
            scope = gdb.Value(0) if scope["shield"] else scope["parent"]

    @staticmethod
    def chain(cause):
        while int(cause):
            who = cause["requester"]
            kind = str(cause["kind"]).removeprefix("YOKE_CAUSE_").lower().replace("_", " ")
            line = f"  because {kind}"
            if int(cause["reason"]):
                line += f": {text(cause['reason'])}"
            if int(who["task_id"]):
                line += f", by task {who['task_name'].string()} ({int(who['task_id'])})"
            if int(who["line"]):
                line += f", {who['file'].string()}:{int(who['line'])}"
            if cause["has_signal"]:
                line += f", signal {int(cause['signal']['number'])} of pid {int(cause['signal']['pid'])}"
            print(line)
            cause = cause["because"]


Yoke()
Tasks()
Backtrace()
Scopes()
Why()
