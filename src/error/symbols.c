/* SPDX-License-Identifier: MIT */
/*
 * From return addresses to functions, files and lines: when an error is shown or sent, never when
 * it is raised.
 *
 * libdw needs more stack than a task has, so the lookup goes through yk_on_big_stack. Its session
 * is opened at the first lookup and kept for the life of the process, since reading the debug
 * information takes far longer than looking in it; a lock guards it. A module that was loaded
 * later makes it read the map of the process anew. It is allowed to find debug information
 * by build id on this machine only: libdw's standard search may ask servers, for minutes.
 *
 * libdw is loaded at the first lookup as well: with what it needs it would take more than half of
 * the time that a program needs to come up, and of the memory that an actor has for itself, and
 * most never look anything up.
 *
 * Without libdw, or for a module without debug information, dladdr(3) names the module, the offset
 * in it, and the function if it is exported.
 */
#include <dlfcn.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "error/error.h"
#include "error/print.h"

#ifdef YK_HAVE_LIBDW
#include <elfutils/libdwfl.h>
#endif

struct rendering {
    void *const *frames;
    size_t n;
    char *text;
};

static pthread_mutex_t lookup_lock = PTHREAD_MUTEX_INITIALIZER;

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? path : slash + 1;
}

#ifdef YK_HAVE_LIBDW

/* The functions of libdw that are used. */
#define DW_FUNCTIONS(each)                                                                         \
    each(dwfl_linux_proc_find_elf) each(dwfl_build_id_find_debuginfo) each(dwfl_begin)             \
        each(dwfl_report_begin_add) each(dwfl_linux_proc_report) each(dwfl_report_end)             \
            each(dwfl_addrmodule) each(dwfl_module_addrdie) each(dwfl_module_nextcu)               \
                each(dwfl_module_addrname) each(dwfl_module_info) each(dwarf_haspc)                \
                    each(dwarf_getsrc_die) each(dwarf_lineno) each(dwarf_linesrc)

#define DW_MEMBER(name) __typeof__(&name) name;
#define DW_NAME(name)   #name,

/* Pointers only, in the order of their names. */
static struct {
    DW_FUNCTIONS(DW_MEMBER)
} dw;
static const char *const dw_names[] = {DW_FUNCTIONS(DW_NAME)};

static char *debuginfo_path;
static Dwfl_Callbacks callbacks = {.debuginfo_path = &debuginfo_path};
static Dwfl *session;

static enum { DW_UNTRIED, DW_LOADED, DW_MISSING } dw_state;

/* Once; it stays loaded. Under the lock. */
static bool load_libdw(void)
{
    void *library = dw_state == DW_UNTRIED ? dlopen("libdw.so.1", RTLD_NOW | RTLD_LOCAL) : NULL;

    if (dw_state != DW_UNTRIED)
        return dw_state == DW_LOADED;
    dw_state = DW_MISSING;
    for (size_t i = 0; i < sizeof dw_names / sizeof *dw_names; i++) {
        void *symbol = library == NULL ? NULL : dlsym(library, dw_names[i]);

        if (symbol == NULL)
            return false;
        memcpy((char *)&dw + i * sizeof symbol, &symbol, sizeof symbol);
    }
    callbacks.find_elf = dw.dwfl_linux_proc_find_elf;
    callbacks.find_debuginfo = dw.dwfl_build_id_find_debuginfo;
    dw_state = DW_LOADED;
    return true;
}

static bool read_map(void)
{
    bool ok;

    if (session == NULL && load_libdw())
        session = dw.dwfl_begin(&callbacks);
    if (session == NULL)
        return false;
    dw.dwfl_report_begin_add(session);
    ok = dw.dwfl_linux_proc_report(session, getpid()) == 0;
    return dw.dwfl_report_end(session, NULL, NULL) == 0 && ok;
}

static Dwfl_Module *find_module(Dwarf_Addr address)
{
    Dwfl_Module *module = session == NULL ? NULL : dw.dwfl_addrmodule(session, address);

    if (module == NULL && read_map())
        module = dw.dwfl_addrmodule(session, address);
    return module;
}

/*
 * The compilation unit of an address. The index of addresses, which libdw looks in, is written by
 * gcc and not by clang; without it each unit is asked.
 */
static Dwarf_Die *find_unit(Dwfl_Module *module, Dwarf_Addr address, Dwarf_Addr *ret_bias)
{
    Dwarf_Die *unit = dw.dwfl_module_addrdie(module, address, ret_bias);

    if (unit != NULL)
        return unit;
    while ((unit = dw.dwfl_module_nextcu(module, unit, ret_bias)) != NULL)
        if (dw.dwarf_haspc(unit, address - *ret_bias) > 0)
            return unit;
    return NULL;
}

/* The source file of an address, and the line; NULL: not known. */
static const char *find_line(Dwfl_Module *module, Dwarf_Addr address, int *ret_number)
{
    Dwarf_Addr bias;
    Dwarf_Die *unit = find_unit(module, address, &bias);
    Dwarf_Line *line = unit == NULL ? NULL : dw.dwarf_getsrc_die(unit, address - bias);

    if (line == NULL || dw.dwarf_lineno(line, ret_number) != 0)
        return NULL;
    return dw.dwarf_linesrc(line, NULL, NULL);
}

/* Prints one frame; false if there is nothing to say that dladdr could not. */
static bool print_with_debuginfo(FILE *out, Dwarf_Addr address)
{
    Dwfl_Module *module = find_module(address);
    const char *function = module == NULL ? NULL : dw.dwfl_module_addrname(module, address);
    Dwarf_Addr start = 0;
    int number = 0;
    const char *file = module == NULL ? NULL : find_line(module, address, &number);

    if (file != NULL) {
        fprintf(out, "at %s:%d, in %s\n", yk_short_path(file), number,
                function == NULL ? "?" : function);
    } else if (function != NULL) {
        const char *path = dw.dwfl_module_info(module, NULL, &start, NULL, NULL, NULL, NULL, NULL);

        fprintf(out, "at %s+0x%" PRIx64 ", in %s\n", path == NULL ? "?" : base_name(path),
                (uint64_t)(address - start), function);
    }
    return file != NULL || function != NULL;
}

#else

static bool print_with_debuginfo(FILE *out, uintptr_t address)
{
    (void)out;
    (void)address;
    return false;
}

#endif

static void print_frame(FILE *out, void *return_address)
{
    /* The call is before the address that it returns to, and may be the last of its line. */
    uintptr_t address = (uintptr_t)return_address - 1;
    Dl_info info;

    if (print_with_debuginfo(out, address))
        return;
    if (dladdr((void *)address, &info) == 0 || info.dli_fname == NULL) {
        fprintf(out, "at %p\n", return_address);
        return;
    }
    fprintf(out, "at %s+0x%" PRIxPTR, base_name(info.dli_fname),
            address - (uintptr_t)info.dli_fbase);
    fprintf(out, info.dli_sname == NULL ? "\n" : ", in %s\n", info.dli_sname);
}

static void render(void *arg)
{
    struct rendering *rendering = arg;
    size_t size;
    FILE *out = open_memstream(&rendering->text, &size);
    bool failed;

    if (out == NULL)
        return;
    pthread_mutex_lock(&lookup_lock);
    for (size_t i = 0; i < rendering->n; i++)
        print_frame(out, rendering->frames[i]);
    pthread_mutex_unlock(&lookup_lock);
    failed = ferror(out) != 0;
    failed = fclose(out) != 0 || failed;
    if (failed) {
        free(rendering->text);
        rendering->text = NULL;
    }
}

char *yk_backtrace_text(void *const *frames, size_t n)
{
    struct rendering rendering = {.frames = frames, .n = n};

    yk_on_big_stack(render, &rendering);
    return rendering.text;
}
