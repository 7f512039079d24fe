/* SPDX-License-Identifier: MIT */
/*
 * Names of result codes. A table of our own, not strerrorname_np(3), which musl does not have and
 * glibc only since 2.32. Of numbers with two names the one that POSIX prefers is given. Runs on
 * any stack.
 */
#include <errno.h>
#include <limits.h>
#include <yoke/common.h>

#define NAME(code) [code] = #code

static const char *const errno_names[] = {
    [0] = "OK",
    NAME(EPERM),
    NAME(ENOENT),
    NAME(ESRCH),
    NAME(EINTR),
    NAME(EIO),
    NAME(ENXIO),
    NAME(E2BIG),
    NAME(ENOEXEC),
    NAME(EBADF),
    NAME(ECHILD),
    NAME(EAGAIN),
    NAME(ENOMEM),
    NAME(EACCES),
    NAME(EFAULT),
    NAME(ENOTBLK),
    NAME(EBUSY),
    NAME(EEXIST),
    NAME(EXDEV),
    NAME(ENODEV),
    NAME(ENOTDIR),
    NAME(EISDIR),
    NAME(EINVAL),
    NAME(ENFILE),
    NAME(EMFILE),
    NAME(ENOTTY),
    NAME(ETXTBSY),
    NAME(EFBIG),
    NAME(ENOSPC),
    NAME(ESPIPE),
    NAME(EROFS),
    NAME(EMLINK),
    NAME(EPIPE),
    NAME(EDOM),
    NAME(ERANGE),
    NAME(EDEADLK),
    NAME(ENAMETOOLONG),
    NAME(ENOLCK),
    NAME(ENOSYS),
    NAME(ENOTEMPTY),
    NAME(ELOOP),
    NAME(ENOMSG),
    NAME(EIDRM),
    NAME(ENOSTR),
    NAME(ENODATA),
    NAME(ETIME),
    NAME(ENOSR),
    NAME(EREMOTE),
    NAME(ENOLINK),
    NAME(EPROTO),
    NAME(EMULTIHOP),
    NAME(EBADMSG),
    NAME(EOVERFLOW),
    NAME(EILSEQ),
    NAME(ERESTART),
    NAME(EUSERS),
    NAME(ENOTSOCK),
    NAME(EDESTADDRREQ),
    NAME(EMSGSIZE),
    NAME(EPROTOTYPE),
    NAME(ENOPROTOOPT),
    NAME(EPROTONOSUPPORT),
    NAME(ESOCKTNOSUPPORT),
    NAME(EOPNOTSUPP),
    NAME(EPFNOSUPPORT),
    NAME(EAFNOSUPPORT),
    NAME(EADDRINUSE),
    NAME(EADDRNOTAVAIL),
    NAME(ENETDOWN),
    NAME(ENETUNREACH),
    NAME(ENETRESET),
    NAME(ECONNABORTED),
    NAME(ECONNRESET),
    NAME(ENOBUFS),
    NAME(EISCONN),
    NAME(ENOTCONN),
    NAME(ESHUTDOWN),
    NAME(ETOOMANYREFS),
    NAME(ETIMEDOUT),
    NAME(ECONNREFUSED),
    NAME(EHOSTDOWN),
    NAME(EHOSTUNREACH),
    NAME(EALREADY),
    NAME(EINPROGRESS),
    NAME(ESTALE),
    NAME(EUCLEAN),
    NAME(EREMOTEIO),
    NAME(EDQUOT),
    NAME(ENOMEDIUM),
    NAME(EMEDIUMTYPE),
    NAME(ECANCELED),
    NAME(ENOKEY),
    NAME(EKEYEXPIRED),
    NAME(EKEYREVOKED),
    NAME(EKEYREJECTED),
    NAME(EOWNERDEAD),
    NAME(ENOTRECOVERABLE),
    NAME(ERFKILL),
    NAME(EHWPOISON),
};

#undef NAME
#define NAME(code) [YOKE_CANCELLED - (code)] = #code

static const char *const yoke_names[] = {
    NAME(YOKE_CANCELLED),      NAME(YOKE_EREMOTE),   NAME(YOKE_EGROUP), NAME(YOKE_ECLOSED),
    NAME(YOKE_EPEERCANCELLED), NAME(YOKE_EDIED),     NAME(YOKE_ELINK),  NAME(YOKE_EUNRESPONSIVE),
    NAME(YOKE_ENOTEXPOSED),    NAME(YOKE_EDEADLOCK),
};

static const char *lookup(const char *const *names, size_t n, int at)
{
    return at >= 0 && (size_t)at < n && names[at] != NULL ? names[at] : "UNKNOWN";
}

const char *yoke_strcode(int code)
{
    if (code == INT_MIN)
        return "UNKNOWN";
    if (code > 0)
        code = -code;
    if (code <= YOKE_CANCELLED)
        return lookup(yoke_names, sizeof yoke_names / sizeof *yoke_names, YOKE_CANCELLED - code);
    return lookup(errno_names, sizeof errno_names / sizeof *errno_names, -code);
}
