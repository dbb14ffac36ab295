/* What augmentation costs: nanoseconds of processor for an image, one thread, images in the first-level
 * cache.
 *
 *   bench_augment [repetitions]
 *
 * Transforms one by one on a CIFAR image and on one of 256x256 cropped to 224x224, beside the memcpy that a
 * batch costs in any case. All take turns; medians of the rounds are printed. */
#include "datasets/augment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 15, LARGE = 3 * 256 * 256, N_WAYS = 21 };

typedef struct way {
    const char *lines; /* of [augment]; NULL: memcpy */
    int side;
    double ns[ROUNDS];
    nt_config *config;
    nt_augment *augment;
    nt_augmenter *augmenter;
} way;

static way ways[N_WAYS] = {
    {NULL, 32},
    {"crop = 32\npadding = 4\n", 32},
    {"crop = 32\npadding = 4\nhflip = 0.5\n", 32},
    {"resized_crop = 32\nhflip = 0.5\n", 32},
    {"rotation = 15\n", 32},
    {"rotation = 15\ninterpolation = bilinear\n", 32},
    {"brightness = 0.4\ncontrast = 0.4\nsaturation = 0.4\n", 32},
    {"hue = 0.1\n", 32},
    {"randaugment = 2\n", 32},
    {"cutout = 16\n", 32},
    {"erase = 1\n", 32},
    {NULL, 256},
    {"crop = 224\n", 256},
    {"crop = 224\nhflip = 0.5\n", 256},
    {"resized_crop = 224\nhflip = 0.5\n", 256},
    {"rotation = 15\n", 256},
    {"rotation = 15\ninterpolation = bilinear\n", 256},
    {"brightness = 0.4\ncontrast = 0.4\nsaturation = 0.4\n", 256},
    {"hue = 0.1\n", 256},
    {"randaugment = 2\n", 256},
    {"erase = 1\n", 256},
};

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static nt_status set_up(way *w)
{
    static const nt_section *const sections[] = {&nt_augment_section, NULL};
    char text[512];
    const nt_sample_spec spec = {.x_dtype = NT_U8,
                                 .x = nt_shape_of(3, (int64_t)3, (int64_t)w->side, (int64_t)w->side)};
    if (!w->lines) return NT_OK;
    int n = snprintf(text, sizeof text, "[augment]\n%s", w->lines);
    NT_TRY(nt_config_parse(&w->config, "bench", text, (size_t)n, NULL, 0, sections));
    NT_TRY(nt_augment_create(&w->augment, w->config, &spec, 1));
    NT_TRY(nt_augmenter_create(&w->augmenter, w->augment, true));
    return NT_OK;
}

static void run(way *w, int round, int64_t n, uint8_t *dst, const uint8_t *src)
{
    const size_t n_bytes = (size_t)(3 * w->side * w->side);
    double began = now_ns();
    for (int64_t i = 0; i < n; i++) {
        if (w->augmenter)
            nt_augmenter_run(w->augmenter, round, i, dst, src);
        else
            memcpy(dst, src, n_bytes);
        __asm__ volatile("" : : "r"(dst) : "memory");
    }
    w->ns[round] = (now_ns() - began) / (double)n;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void print(way *w)
{
    char text[128] = "memcpy";
    qsort(w->ns, ROUNDS, sizeof w->ns[0], by_value);
    if (w->augment) nt_augment_describe(w->augment, text, sizeof text);
    printf("3x%dx%d  %-62s %10.0f ns\n", w->side, w->side, text, w->ns[ROUNDS / 2]);
    nt_augmenter_destroy(w->augmenter);
    nt_augment_destroy(w->augment);
    if (w->config) nt_config_destroy(w->config);
}

int main(int argc, char **argv)
{
    int64_t n = argc > 1 ? atoll(argv[1]) : 4000;
    uint8_t *src = malloc(LARGE), *dst = malloc(LARGE);
    bool fine = src && dst && n >= 100;
    for (int i = 0; fine && i < LARGE; i++)
        src[i] = (uint8_t)(i / 7 % 100 + (i * 2654435761u >> 28));
    for (int i = 0; fine && i < N_WAYS; i++)
        fine = set_up(&ways[i]) == NT_OK;
    for (int round = 0; fine && round < ROUNDS; round++)
        for (int i = 0; i < N_WAYS; i++)
            run(&ways[i], round, ways[i].side == 32 ? n : n / 100, dst, src);
    for (int i = 0; fine && i < N_WAYS; i++)
        print(&ways[i]);
    free(src);
    free(dst);
    return fine ? 0 : 1;
}
