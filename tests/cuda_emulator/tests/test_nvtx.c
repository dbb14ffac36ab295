/* The emulated NVTX writes down what it is told, in whole lines, and complains about ends without beginnings.
 */
#include "tests/cuda_emulator/tests/process.h"

#include <nvtx3/nvToolsExt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define LIMIT_S 100

static int body_ranges(void *arg)
{
    nvtxEventAttributes_t a = {.version = NVTX_VERSION,
                               .size = NVTX_EVENT_ATTRIB_STRUCT_SIZE,
                               .messageType = NVTX_MESSAGE_TYPE_ASCII,
                               .message.ascii = "step 1"};
    (void)arg;
    nvtxDomainHandle_t domain = nvtxDomainCreateA("mine");
    CHILD_CHECK(nvtxDomainRangePushEx(domain, &a) == 0, "depth");
    CHILD_CHECK(nvtxRangePushA("outside") == 0, "the domains' depths are their own");
    a.message.ascii = "for\nward";
    CHILD_CHECK(nvtxDomainRangePushEx(domain, &a) == 1, "depth");
    CHILD_CHECK(nvtxDomainRangePop(domain) == 1 && nvtxDomainRangePop(domain) == 0, "depth");
    nvtxRangeId_t id = nvtxRangeStartA("copy");
    nvtxMarkA("here");
    nvtxRangeEnd(id);
    CHILD_CHECK(nvtxRangePop() == 0, "depth");
    nvtxDomainDestroy(domain);
    return 0;
}

static int body_unbalanced(void *arg)
{
    nvtxDomainHandle_t domain = nvtxDomainCreateA("mine");
    (void)arg;
    CHILD_CHECK(nvtxDomainRangePop(domain) < 0, "popped nothing");
    return 0;
}

/* Line by line, without time and thread. */
static void every_call_is_a_line(void **state)
{
    static const char *want[] = {"push [mine] 0 step 1", "push [] 0 outside", "push [mine] 1 for ward",
                                 "pop [mine] 1 ",        "pop [mine] 0 ",     "start [] 1 copy",
                                 "mark [] 0 here",       "end [] 1 ",         "pop [] 0 "};
    char path[] = "/tmp/nvtx_XXXXXX", line[256];
    (void)state;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    setenv("NT_EMU_NVTX", path, 1);
    child_end end = child_run(body_ranges, NULL, LIMIT_S);
    if (end.status != 0) fail_msg("ended with %d: %s", end.status, end.said);
    FILE *f = fdopen(fd, "r");
    assert_non_null(f);
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        long long ns;
        int thread, at = 0;
        assert_non_null(fgets(line, sizeof line, f));
        assert_int_equal(sscanf(line, "%lld %d %n", &ns, &thread, &at), 2);
        line[strcspn(line, "\n")] = 0;
        assert_string_equal(line + at, want[i]);
    }
    assert_null(fgets(line, sizeof line, f));
    fclose(f);
    unlink(path);
    unsetenv("NT_EMU_NVTX");
    assert_int_equal(child_run(body_ranges, NULL, LIMIT_S).status, 0); /* and none without a file */
}

static void an_end_without_a_beginning(void **state)
{
    (void)state;
    child_end end = child_run(body_unbalanced, NULL, LIMIT_S);
    if (end.status != CHILD_COMPLAINED || !strstr(end.said, "was not begun"))
        fail_msg("ended with %d: %s", end.status, end.said);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_is_a_line),
        cmocka_unit_test(an_end_without_a_beginning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
