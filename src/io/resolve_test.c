/* SPDX-License-Identifier: MIT */
/* Names to addresses: what needs no lookup, what fails, who does not wait for it. */
#include "io/net_support.h"

YK_REAL_TEST(numeric_places_and_paths_need_no_lookup)
{
    static const char *const places[] = {"127.0.0.1:80", "[::1]:80", "/run/x", "@x"};
    struct yoke_address *addresses;

    names_clear();
    for (size_t i = 0; i < 4; i++) {
        yk_check_int(yoke_resolve(places[i], NULL, &addresses), 1);
        yk_check_text(text_of(&addresses[0]), places[i]);
        free(addresses);
    }
    yk_check_int(names.asked, 0);
    yk_check_int(yoke_resolve("127.0.0.1:80", &(struct yoke_resolve_opts){.family = AF_INET6},
                              &addresses),
                 -EAFNOSUPPORT);
    yk_check_caught("yoke.Resolve", NULL);
    yk_check_int(yoke_resolve("[bad", NULL, &addresses), -EINVAL);
    yk_check_caught("yoke.Address", NULL);
    return 0;
}

YK_REAL_TEST(a_name_that_does_not_resolve_says_which_and_why)
{
    static const struct {
        int code, rc;
    } cases[] = {{EAI_NONAME, -ENOENT},       {EAI_AGAIN, -EAGAIN},  {EAI_FAIL, -EIO},
                 {EAI_FAMILY, -EAFNOSUPPORT}, {EAI_MEMORY, -ENOMEM}, {EAI_SERVICE, -EINVAL}};
    struct yoke_address *addresses;
    struct yoke_conn *conn;

    names_clear();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        names.code = cases[i].code;
        yk_check_int(yoke_resolve("no.such.test:80", NULL, &addresses), cases[i].rc);
        yk_check(yoke_in_flight() != NULL &&
                 strncmp(yoke_error_message(yoke_in_flight()), "no.such.test:80: ", 17) == 0);
        yk_check_caught("yoke.Resolve", NULL);
    }
    names.code = EAI_NONAME;
    yk_check_int(yoke_connect("no.such.test:80", NULL, &conn), -ENOENT);
    yk_check_caught("yoke.Resolve", NULL);
    return 0;
}

static int resolve_it(void *arg)
{
    struct yoke_address *addresses;
    int n = yoke_resolve("some.host.test:80", NULL, &addresses);

    (void)arg;
    if (n < 0)
        return n;
    free(addresses);
    return 0;
}

YK_REAL_TEST(a_cancelled_lookup_is_left_behind)
{
    static sem_t hang; /* waited for, perhaps, when this has returned */

    sem_init(&hang, 0, 0);
    names_clear();
    names.answers[0] = "127.0.0.1";
    names.hang = &hang;
    yk_check_int(cancelled_while(resolve_it, NULL), YOKE_CANCELLED);
    sem_post(&hang);
    return 0;
}

static int resolve_and_wake(void *arg)
{
    int rc = resolve_it(NULL);

    if (rc == 0)
        sem_post((sem_t *)arg);
    return rc;
}

YK_REAL_TEST(at_most_16_lookups_run_at_a_time)
{
    struct yoke_nursery nursery;
    sem_t hang;

    sem_init(&hang, 0, 0);
    names_clear();
    names.answers[0] = "127.0.0.1";
    names.hang = &hang;
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    for (int i = 0; i < 40; i++)
        yk_check_int(yoke_spawn(&nursery, resolve_and_wake, &hang), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    for (int i = 0; i < 16; i++)
        sem_post(&hang); /* each that ends lets one more go */
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(names.asked, 40);
    yk_check(names.most <= 16);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numeric_places_and_paths_need_no_lookup),
        cmocka_unit_test(a_name_that_does_not_resolve_says_which_and_why),
        cmocka_unit_test(a_cancelled_lookup_is_left_behind),
        cmocka_unit_test(at_most_16_lookups_run_at_a_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
