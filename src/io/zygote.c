/* SPDX-License-Identifier: MIT */
/*
 * The zygote does nothing but wait for requests on a socket:
 *
 *   parent -> zygote   what the new process is to know, with the descriptor for it
 *   zygote -> parent   struct answer, with a pidfd of the new process
 *
 * New processes are made with CLONE_PARENT: they are children of the zygote's parent, which reaps
 * them and whose death they are told of, as with any other spawner. The clone is a system call of
 * our own, since the C library has no fork with flags; that is right here because the zygote has
 * one thread and holds no lock. Only the C library's record of the thread's id has to be put right,
 * which the kernel does for us at the address that the library has given it.
 *
 * The zygote ends when its socket does: so whatever ends its parent ends it.
 */
#include "io/zygote.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/limits.h"
#include "io/ladder.h"

struct answer {
    int error; /* of the clone; 0: there is a process */
    pid_t pid;
};

/* Of the process that has one. The lock is for runtimes on several threads. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pid_t zygote_pid; /* 0: there is none */
static int zygote_fd = -1;
static bool zygote_broken; /* it has not answered: what comes next could be a late answer */

/* One message with at most one descriptor, -1: none. 0 or -errno. */
static int send_message(int fd, const void *data, size_t size, int passed)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = {.iov_base = (void *)data, .iov_len = size};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;

    memset(&control, 0, sizeof control);
    if (passed >= 0) {
        message.msg_control = control.space;
        message.msg_controllen = sizeof control.space;
        control.align.cmsg_level = SOL_SOCKET;
        control.align.cmsg_type = SCM_RIGHTS;
        control.align.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.align), &passed, sizeof passed);
    }
    do
        n = sendmsg(fd, &message, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

/* 1; 0 at the end; or -errno. *ret_passed is -1 if no descriptor came. */
static int receive_message(int fd, void *data, size_t size, int *ret_passed)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = {.iov_base = data, .iov_len = size};
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.space,
        .msg_controllen = sizeof control.space,
    };
    struct cmsghdr *header;
    ssize_t n;

    *ret_passed = -1;
    do
        n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return n < 0 ? -errno : 0;
    header = CMSG_FIRSTHDR(&message);
    if (header != NULL && header->cmsg_type == SCM_RIGHTS)
        memcpy(ret_passed, CMSG_DATA(header), sizeof(int));
    if ((size_t)n == size)
        return 1;
    if (*ret_passed >= 0)
        close(*ret_passed);
    return -EBADMSG;
}

/* Where the C library keeps the id of this thread; NULL: the kernel does not say. */
static pid_t *thread_id_place(void)
{
    pid_t *place = NULL;

    if (prctl(PR_GET_TID_ADDRESS, &place) < 0 || place == NULL ||
        *place != (pid_t)syscall(SYS_gettid))
        return NULL;
    return place;
}

/* As fork, but the child is one of our parent. The exit signal is ours. */
static pid_t fork_for_parent(int *ret_pidfd)
{
    pid_t *place = thread_id_place();
    unsigned long flags = CLONE_PARENT | CLONE_PIDFD | SIGCHLD;

    if (place != NULL)
        flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
#if defined(__x86_64__)
    return (pid_t)syscall(SYS_clone, flags, NULL, ret_pidfd, place, 0UL);
#else
    return (pid_t)syscall(SYS_clone, flags, NULL, ret_pidfd, 0UL, place);
#endif
}

/* In the new process: nothing is left of what made it a zygote. */
static void forget(int fd)
{
    close(fd);
    zygote_pid = 0;
    signal(SIGINT, SIG_DFL);
    signal(SIGQUIT, SIG_DFL);
}

/* In the zygote. */
_Noreturn static void serve_requests(int fd, const struct yk_zygote_birth *birth)
{
    int passed;

    while (receive_message(fd, birth->request, birth->size, &passed) > 0) {
        struct answer answer = {.error = 0};
        int pidfd = -1;
        pid_t pid = fork_for_parent(&pidfd);

        if (pid == 0) {
            forget(fd);
            birth->run(birth->request, passed);
        }
        if (pid < 0)
            answer.error = errno;
        answer.pid = pid;
        (void)send_message(fd, &answer, sizeof answer, pidfd);
        if (pidfd >= 0)
            close(pidfd);
        close(passed);
    }
    _exit(0);
}

/* A directory has a link for each directory in it, and two of its own. */
static bool has_threads(void)
{
    struct stat status;

    return stat("/proc/self/task", &status) == 0 && status.st_nlink > 3;
}

int yk_zygote_start(const struct yk_zygote_birth *birth)
{
    pid_t parent = getpid();
    int fds[2];
    int rc = 0;

    if (zygote_pid != 0 || has_threads())
        return -EBUSY;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    fflush(NULL); /* or each actor would write what is there once more */
    zygote_pid = fork();
    if (zygote_pid == 0) {
        close(fds[0]);
        signal(SIGINT, SIG_IGN); /* Ctrl-C is for the program, which then ends us */
        signal(SIGQUIT, SIG_IGN);
        prctl(PR_SET_NAME, "zygote");
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(0);
        serve_requests(fds[1], birth);
    }
    if (zygote_pid < 0) {
        rc = -errno;
        zygote_pid = 0;
        close(fds[0]);
    } else {
        zygote_fd = fds[0];
        zygote_broken = false;
    }
    close(fds[1]);
    return rc;
}

void yk_zygote_stop(void)
{
    if (zygote_pid == 0)
        return;
    close(zygote_fd);
    zygote_fd = -1;
    if (zygote_broken)
        kill(zygote_pid, SIGKILL); /* it may be stopped */
    while (waitpid(zygote_pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    zygote_pid = 0;
}

/* A whole exchange, under the lock. *ret_pidfd is set with 0. */
static int exchange(const void *request, size_t size, int fd, struct answer *ret_answer,
                    int *ret_pidfd)
{
    struct pollfd wait = {.fd = zygote_fd, .events = POLLIN};
    int rc = zygote_broken ? -ETIMEDOUT : send_message(zygote_fd, request, size, fd);

    if (rc < 0)
        return rc == -ECONNRESET ? -EPIPE : rc;
    do
        rc = poll(&wait, 1, YK_ZYGOTE_MS);
    while (rc < 0 && errno == EINTR);
    if (rc <= 0) {
        zygote_broken = true;
        return rc < 0 ? -errno : -ETIMEDOUT;
    }
    rc = receive_message(zygote_fd, ret_answer, sizeof *ret_answer, ret_pidfd);
    return rc > 0 ? 0 : rc == 0 || rc == -ECONNRESET ? -EPIPE : rc;
}

int yk_zygote_spawn(const void *request, size_t size, int fd, struct yk_process *ret)
{
    struct answer answer = {.error = 0};
    int pidfd = -1;
    int rc;

    if (zygote_pid == 0)
        return -ENOENT;
    pthread_mutex_lock(&lock);
    rc = exchange(request, size, fd, &answer, &pidfd);
    pthread_mutex_unlock(&lock);
    if (rc == 0 && answer.error != 0)
        rc = -answer.error;
    if (rc < 0)
        return rc;
    *ret = (struct yk_process){.pid = answer.pid, .pidfd = pidfd};
    return 0;
}

const char *yk_zygote_describe(char *text, size_t size)
{
    siginfo_t info = {.si_pid = 0};
    char how[96] = "is gone";

    if (waitid(P_PID, (id_t)zygote_pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
        info.si_pid != 0)
        yk_ladder_describe(info.si_code == CLD_EXITED ? info.si_status << 8 : info.si_status, how,
                           sizeof how);
    snprintf(text, size, "pid %d %s", (int)zygote_pid, zygote_broken ? "does not answer" : how);
    return text;
}
