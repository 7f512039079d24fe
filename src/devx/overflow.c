/* SPDX-License-Identifier: MIT */
/*
 * A task that runs into its guard page has no stack left to say so; the handler runs on a signal
 * stack. It tells its task, stack and scopes with its own formatting and write(2), which are safe
 * anywhere, has the backtrace looked up by the watcher (bounded: the watcher may need a lock that
 * the interrupted code holds), restores what was there before, and returns: the fault happens
 * again, with its effect and a core that shows the place.
 *
 * A fault elsewhere is not ours: it goes on to what was there before, at once.
 */
#include "devx/overflow.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devx/freeze.h"
#include "task/task.h"

enum { SIGNAL_STACK_SIZE = 64 << 10 };

static const int numbers[] = {SIGSEGV, SIGBUS};
static struct sigaction before[2];

void (*yk_overflow_backtrace)(void *const *frames, size_t n);

/* One write, so that lines of several threads do not mix. */
struct text {
    char bytes[2048];
    size_t n;
};

static void add(struct text *text, const char *more)
{
    size_t n = strlen(more);

    if (n > sizeof text->bytes - text->n)
        n = sizeof text->bytes - text->n;
    memcpy(text->bytes + text->n, more, n);
    text->n += n;
}

static void add_number(struct text *text, uint64_t number)
{
    char digits[24];
    size_t at = sizeof digits - 1;

    digits[at] = '\0';
    do
        digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    add(text, digits + at);
}

static void add_site(struct text *text, const char *what, const struct yoke_site *site)
{
    if (site == NULL)
        return;
    add(text, what);
    add(text, site->file);
    add(text, ":");
    add_number(text, (uint64_t)site->line);
}

static void tell(const struct yk_task *task)
{
    struct text text;

    text.n = 0;
    add(&text, "yoke: stack overflow in task ");
    add(&text, yk_task_name(task));
    add(&text, " (");
    add_number(&text, task->locus.task_id);
    add(&text, "): it has used up its stack of ");
    add_number(&text, (uint64_t)(task->locus.stack_high - task->locus.stack_low) / 1024);
    add(&text, " KiB");
    add_site(&text, ", spawned at ", task->site);
    add(&text, "\n  keep large arrays elsewhere, recurse less, or call it by yoke_thread_run\n");
    for (const struct yoke_scope *scope = task->scope; scope != NULL; scope = scope->parent) {
        add(&text, "  scope \"");
        add(&text, scope->name);
        add(&text, "\"");
        add_site(&text, ", opened at ", scope->site);
        add(&text, "\n");
    }
    if (write(2, text.bytes, text.n) < 0)
        return; /* nobody can be told */
}

/* The task that runs on this thread, if `address` is in the guard page below its stack. */
static const struct yk_task *overflowed(const void *address)
{
    const struct yk_task *task = yk_task_self_or_null();
    const char *low = task == NULL ? NULL : task->locus.stack_low;

    if (task == NULL || (const char *)address >= low ||
        (size_t)(low - (const char *)address) > task->runtime->stacks.page_size)
        return NULL;
    return task;
}

static void handler(int number, siginfo_t *info, void *context)
{
    const struct yk_task *task = info->si_code > 0 ? overflowed(info->si_addr) : NULL;

    if (task != NULL) {
        void *frames[YK_BACKTRACE_MAX];

        tell(task);
        if (yk_overflow_backtrace != NULL)
            yk_overflow_backtrace(frames,
                                  yk_backtrace_interrupted(context, frames, YK_BACKTRACE_MAX));
    }
    sigaction(number, &before[number == numbers[0] ? 0 : 1], NULL);
    /* A fault happens again by itself; one that was sent does not. */
    if (info->si_code <= 0)
        raise(number);
}

void yk_overflow_init(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < 2; i++)
        sigaction(numbers[i], &action, &before[i]); /* fails only for bad arguments */
}

void yk_overflow_fini(void)
{
    for (size_t i = 0; i < 2; i++) {
        struct sigaction now;

        /* Whoever has put a handler over ours keeps it. */
        if (sigaction(numbers[i], NULL, &now) == 0 && now.sa_sigaction == handler)
            sigaction(numbers[i], &before[i], NULL);
    }
}

int yk_signal_stack_init(void **ret_stack)
{
    stack_t stack = {.ss_size = SIGNAL_STACK_SIZE}, had;

    *ret_stack = NULL;
    if (sigaltstack(NULL, &had) == 0 && (had.ss_flags & SS_DISABLE) == 0)
        return 0;
    stack.ss_sp = mmap(NULL, stack.ss_size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack.ss_sp == MAP_FAILED)
        return -ENOMEM;
    if (sigaltstack(&stack, NULL) < 0) {
        munmap(stack.ss_sp, stack.ss_size);
        return -ENOMEM;
    }
    *ret_stack = stack.ss_sp;
    return 0;
}

void yk_signal_stack_fini(void *stack)
{
    stack_t none = {.ss_flags = SS_DISABLE};

    if (stack == NULL)
        return;
    sigaltstack(&none, NULL);
    munmap(stack, SIGNAL_STACK_SIZE);
}
