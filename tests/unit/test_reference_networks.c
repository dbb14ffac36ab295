/* Whole networks against PyTorch, on ref64 and cpu: ten training steps of LeNet-5, ResNet-20, MobileNet v2,
 * Inception v3, a vision transformer and a small GPT-2, from the shipped model files. ref64's loops are slow,
 * so large nets take a step or none of it, or with NNTRAIN_SLOW_TESTS=10 all ten. cuda is in
 * tests/cuda/test_cuda_networks.c. */
#include "tests/unit/reference_networks.h"

static void on_double(nt_h5 *file, const char *name, void *arg)
{
    (void)arg;
    char path[128];
    snprintf(path, sizeof path, "/%s", name);
    int64_t steps = steps_of(file, name, reference_int(file, path, "ref_steps"));
    if (steps > 0) check_run(file, name, "ref64", steps);
}

static void on_cpu(nt_h5 *file, const char *name, void *arg)
{
    (void)arg;
    check_run(file, name, "cpu", steps_of(file, name, INT64_MAX));
}

static void double_is_pytorchs_double(void **state)
{
    (void)state;
    each_network(on_double);
}

static void cpu_is_as_near_as_pytorchs_float32(void **state)
{
    (void)state;
    each_network(on_cpu);
}

static void spoiled(nt_h5 *file, const char *name, void *arg)
{
    (void)arg;
    if (strcmp(name, "lenet5") != 0 && strcmp(name, "gpt2") != 0) return; /* two are enough, and quick */
    check_spoiled(file, name, "cpu", steps_of(file, name, INT64_MAX));
}

static void a_changed_weight_is_found(void **state)
{
    (void)state;
    each_network(spoiled);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(double_is_pytorchs_double),
        cmocka_unit_test(cpu_is_as_near_as_pytorchs_float32),
        cmocka_unit_test(a_changed_weight_is_found),
    };
    return cmocka_run_group_tests_name("reference_networks", tests, NULL, NULL);
}
