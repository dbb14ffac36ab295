/* Whole networks against PyTorch, as tests/unit/test_reference_networks.c on cpu. On a real device all steps
 * of all of them; on the emulator, which takes seconds for what a device does in a millisecond, as many as
 * the table says, or as NNTRAIN_SLOW_TESTS (10: all). One step compares the loss and every gradient; two,
 * what the optimizer made of them, too. */
#include "tests/unit/reference_networks.h"

#ifdef NT_CUDA_EMULATOR
static const struct {
    const char *name;
    int64_t steps;
} on_emulator[] = {{"lenet5", 2},   {"gpt2", 2},         {"vit_tiny", 2},
                   {"resnet20", 1}, {"mobilenet_v2", 0}, {"inception3", 0}};

static int64_t least_steps(const char *name)
{
    for (int i = 0; i < NT_N_ELEMS(on_emulator); i++)
        if (strcmp(on_emulator[i].name, name) == 0) return on_emulator[i].steps;
    fail_msg("%s has no line in the table", name);
    return 0;
}
#else
static int64_t least_steps(const char *name)
{
    (void)name;
    return INT64_MAX;
}
#endif

static void on_cuda(nt_h5 *file, const char *name, void *arg)
{
    (void)arg;
    int64_t steps = steps_of(file, name, least_steps(name));
    if (steps > 0) check_run(file, name, "cuda", steps);
}

static void cuda_is_as_near_as_pytorchs_float32(void **state)
{
    (void)state;
    each_network(on_cuda);
}

static void spoiled(nt_h5 *file, const char *name, void *arg)
{
    (void)arg;
    if (strcmp(name, "lenet5") == 0) check_spoiled(file, name, "cuda", 1);
}

static void a_changed_weight_is_found(void **state)
{
    (void)state;
    each_network(spoiled);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuda_is_as_near_as_pytorchs_float32),
        cmocka_unit_test(a_changed_weight_is_found),
    };
    return cmocka_run_group_tests_name("cuda_networks", tests, NULL, NULL);
}
