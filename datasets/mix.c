/* Mixing in place: going from the last sample to the second, each still finds its partner as it was; the
 * partner of the first lies behind the last.
 *
 * Lambda is Beta(a, a) as X / (X + Y) of two gamma variables (Marsaglia & Tsang 2000), in logarithms, because
 * for a small alpha both underflow. It is drawn by rejection; attempt k has random numbers of its own, so
 * that the result still is a function of where the batch stands. */
#include "datasets/mix.h"

#include "core/rng.h"
#include "datasets/augment_draw.h"

#include <math.h>
#include <string.h>

/* --- drawing --- */

/* In (0, 1). */
static double open_uniform(uint32_t word)
{
    return ((double)word + 0.5) * 0x1p-32;
}

/* log of a Gamma(shape, 1) variable; `which` of the two. */
static double log_gamma_draw(const nt_draw *draw, double shape, uint32_t which)
{
    double boosted = shape < 1 ? shape + 1 : shape, d = boosted - 1.0 / 3, c = 1 / sqrt(9 * d), v = 1;
    nt_philox block = nt_draw_block(draw, NT_DRAW_LAMBDA, 64 * which);
    double boost = shape < 1 ? log(open_uniform(block.v[0])) / shape : 0;
    for (uint32_t k = 1; k < 64; k++) { /* each attempt fails with less than 0.05: never 63 times */
        double normal[2];
        block = nt_draw_block(draw, NT_DRAW_LAMBDA, 64 * which + k);
        nt_rng_normal(block.v[0], block.v[1], normal);
        double root = 1 + c * normal[0];
        if (root <= 0) continue;
        v = root * root * root;
        if (log(open_uniform(block.v[2])) < 0.5 * normal[0] * normal[0] + d * (1 - v + log(v))) break;
    }
    return log(d) + log(v) + boost;
}

/* The partner's rectangle (Yun et al. 2019): a part 1 - lambda of the image around a pixel drawn evenly, cut
 * off at the borders; lambda becomes what is really left. */
static void draw_rectangle(nt_mix *mix, const nt_draw *draw, int64_t height, int64_t width)
{
    nt_philox block = nt_draw_block(draw, NT_DRAW_RECTANGLE, 0);
    int64_t x = (int64_t)nt_rng_below(block.v[0], block.v[1], (uint64_t)width);
    int64_t y = (int64_t)nt_rng_below(block.v[2], block.v[3], (uint64_t)height);
    double r = 0.5 * sqrt(1 - mix->lambda);
    int64_t half_width = (int64_t)(r * (double)width), half_height = (int64_t)(r * (double)height);
    mix->left = x > half_width ? x - half_width : 0;
    mix->top = y > half_height ? y - half_height : 0;
    mix->right = x + half_width < width ? x + half_width : width;
    mix->bottom = y + half_height < height ? y + half_height : height;
    mix->lambda =
        1 - (double)((mix->right - mix->left) * (mix->bottom - mix->top)) / (double)(height * width);
}

nt_mix nt_mix_draw(const nt_mix_options *options, uint64_t seed, int64_t epoch, int64_t index, int64_t height,
                   int64_t width)
{
    const nt_draw draw = {.seed = seed, .epoch = epoch, .sample = index};
    nt_philox block = nt_draw_block(&draw, NT_DRAW_MIX, 0);
    bool up = options->mixup > 0, cut = options->cutmix > 0;
    nt_mix mix = {.kind = NT_MIX_NONE, .lambda = 1};
    if ((!up && !cut) || (double)nt_rng_uniform(block.v[0]) >= options->probability) return mix;
    mix.kind = up && (!cut || block.v[1] >> 31) ? NT_MIX_UP : NT_MIX_CUT;
    double alpha = mix.kind == NT_MIX_UP ? options->mixup : options->cutmix;
    mix.lambda = 1 / (1 + exp(log_gamma_draw(&draw, alpha, 1) - log_gamma_draw(&draw, alpha, 0)));
    if (mix.kind == NT_MIX_CUT) draw_rectangle(&mix, &draw, height, width);
    return mix;
}

/* --- mixing --- */

static void blend_u8(uint8_t *x, const uint8_t *partner, float lambda, int64_t n)
{
    const float rest = 1 - lambda;
    for (int64_t i = 0; i < n; i++)
        x[i] = (uint8_t)(lambda * (float)x[i] + rest * (float)partner[i] + 0.5f);
}

static void blend_f32(float *x, const float *partner, float lambda, int64_t n)
{
    const float rest = 1 - lambda;
    for (int64_t i = 0; i < n; i++)
        x[i] = lambda * x[i] + rest * partner[i];
}

static void paste(const nt_mix *mix, const nt_mix_form *form, char *x, const char *partner)
{
    size_t elem = nt_dtype_bytes(form->dtype), n_bytes = (size_t)(mix->right - mix->left) * elem;
    for (int64_t c = 0; c < form->channels; c++)
        for (int64_t y = mix->top; y < mix->bottom; y++) {
            size_t at = (size_t)((c * form->height + y) * form->width + mix->left) * elem;
            memcpy(x + at, partner + at, n_bytes);
        }
}

void nt_mix_samples(const nt_mix *mix, const nt_mix_form *form, void *x, const int64_t *partner, int64_t n)
{
    const int64_t n_elems = form->channels * form->height * form->width;
    const size_t row = (size_t)n_elems * nt_dtype_bytes(form->dtype);
    for (int64_t i = n - 1; i >= 0 && mix->kind != NT_MIX_NONE; i--) {
        char *own = (char *)x + (size_t)i * row, *other = (char *)x + (size_t)partner[i] * row;
        if (mix->kind == NT_MIX_CUT)
            paste(mix, form, own, other);
        else if (form->dtype == NT_U8)
            blend_u8((uint8_t *)own, (const uint8_t *)other, (float)mix->lambda, n_elems);
        else
            blend_f32((float *)(void *)own, (const float *)(const void *)other, (float)mix->lambda, n_elems);
    }
}

void nt_mix_labels(const nt_mix *mix, const nt_mix_form *form, float *probability, const int32_t *label,
                   const int64_t *partner, int64_t n)
{
    memset(probability, 0, (size_t)(n * form->n_classes) * sizeof *probability);
    for (int64_t i = 0; i < n; i++) {
        float *p = probability + i * form->n_classes;
        p[label[i]] = (float)mix->lambda;
        if (mix->kind != NT_MIX_NONE) p[label[partner[i]]] += (float)(1 - mix->lambda);
    }
}

void nt_mix_values(const nt_mix *mix, const nt_mix_form *form, float *value, const int64_t *partner,
                   int64_t n)
{
    const int64_t k = form->n_values;
    for (int64_t i = n - 1; i >= 0 && mix->kind != NT_MIX_NONE; i--)
        blend_f32(value + i * k, value + partner[i] * k, (float)mix->lambda, k);
}
