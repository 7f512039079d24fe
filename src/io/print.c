/* SPDX-License-Identifier: MIT */
/*
 * Printing to descriptors that block, such as stdout, which others share and which must therefore
 * not be made non-blocking: a worker thread writes, and is left behind if its task is cancelled.
 *
 * Texts for one descriptor are written one after the other. A task owns the turn of a descriptor
 * from when it is given to it until its text is written or, if it was cancelled meanwhile, until
 * the thread that it left has returned. So texts never mix, and keep the order of the calls.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yoke/io.h>

#include "base/check.h"
#include "base/faults.h"
#include "base/memory.h"
#include "task/task.h"

/* Of one descriptor; kept until the runtime ends. */
struct printer {
    struct printer *next;
    int fd;
    bool busy;
    struct yk_list turns; /* tasks that wait for theirs */
};

struct text {
    struct printer *printer;
    int fd;
    size_t n;
    char bytes[];
};

static void printers_free(void *data)
{
    struct printer *printer = data;

    while (printer != NULL) {
        struct printer *next = printer->next;

        yk_assert(yk_list_empty(&printer->turns));
        free(printer);
        printer = next;
    }
}

static struct printer *printer_of(struct yoke_runtime *runtime, int fd)
{
    struct printer *printer = runtime->slots[YK_SLOT_PRINT].data;

    while (printer != NULL && printer->fd != fd)
        printer = printer->next;
    if (printer != NULL)
        return printer;
    printer = yk_calloc(1, sizeof *printer);
    if (printer == NULL)
        return NULL;
    printer->fd = fd;
    yk_list_init(&printer->turns);
    printer->next = runtime->slots[YK_SLOT_PRINT].data;
    runtime->slots[YK_SLOT_PRINT].data = printer;
    runtime->slots[YK_SLOT_PRINT].fini = printers_free;
    return printer;
}

static void pass_turn(struct printer *printer)
{
    printer->busy = yk_wake_first(&printer->turns, 0); /* its turn from now on */
}

static struct text *text_new(const char *format, va_list arguments)
{
    va_list again;
    struct text *text;
    int n;

    va_copy(again, arguments);
    n = vsnprintf(NULL, 0, format, again);
    va_end(again);
    text = n < 0 ? NULL : yk_malloc(sizeof *text + (size_t)n + 1);
    if (text == NULL)
        return NULL;
    text->n = (size_t)vsnprintf(text->bytes, (size_t)n + 1, format, arguments);
    return text;
}

/* In a worker thread, or left behind in one. */
static int write_text(void *arg)
{
    struct text *text = arg;
    size_t done = 0;

    while (done < text->n) {
        ssize_t n = YK_FALLIBLE(EIO, write(text->fd, text->bytes + done, text->n - done));

        if (n >= 0)
            done += (size_t)n;
        else if (errno == EAGAIN)
            (void)poll(&(struct pollfd){.fd = text->fd, .events = POLLOUT}, 1, -1);
        else if (errno != EINTR)
            return yoke_raise("yoke.Io", errno, "write on descriptor %d: %s", text->fd,
                              strerror(errno));
    }
    return 0;
}

/* The call was cancelled, and its thread is done. Without a runtime there are no turns any more. */
static void abandoned(void *arg)
{
    struct text *text = arg;

    if (yk_runtime_current != NULL)
        pass_turn(text->printer);
    free(text);
}

static int print(struct yk_task *task, int fd, struct text *text)
{
    static const struct yoke_thread_opts leave = {.abandon = true, .abandoned = abandoned};
    struct printer *printer = printer_of(task->runtime, fd);
    int rc = text == NULL || printer == NULL ? -ENOMEM : 0;

    if (rc < 0)
        yoke_raise("yoke.Io", rc, "no memory to print on descriptor %d", fd);
    else if (printer->busy)
        rc = yk_wait_in(&printer->turns, "turn to print", NULL);
    if (rc < 0) {
        free(text);
        return rc;
    }
    printer->busy = true;
    text->printer = printer;
    text->fd = fd;
    rc = yoke_thread_run(write_text, text, &leave);
    if (rc == YOKE_CANCELLED)
        return rc; /* `abandoned` has the text and the turn */
    pass_turn(printer);
    free(text);
    return rc;
}

int yoke_print(int fd, const char *format, ...)
{
    struct yk_task *task = yk_task_self("yoke_print");
    struct text *text;
    va_list arguments;
    int rc = yk_check_cancelled(task);

    if (rc < 0)
        return rc;
    va_start(arguments, format);
    text = text_new(format, arguments);
    va_end(arguments);
    if (text == NULL || text->n > 0)
        return print(task, fd, text);
    free(text);
    yk_completed_at_once(task);
    return 0;
}
