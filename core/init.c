/* Initial parameters. One Philox block serves four neighbouring elements: element e takes number e % 4 of the
 * block at counter (e / 4, parameter id). What falls outside the truncation is drawn again from the same
 * place of the block with the next attempt as sub-id, so that every element stays a function of its index
 * alone; drawing on from a running generator would tie it to its neighbours. */
#include "core/init.h"

#include "core/rng.h"

#include <math.h>

#define TRUNCATION 2.0 /* standard deviations */

const char *const nt_init_choices[] = {"auto",  "kaiming", "xavier", "normal", "truncated_normal",
                                       "zeros", "ones",    NULL};

nt_init nt_init_constant(double value)
{
    return (nt_init){.type = NT_INIT_CONSTANT, .a = value};
}

/* Uniform in +-1/sqrt(fan_in): what PyTorch's Linear and Conv2d start with. */
static nt_init uniform_by_fan(int64_t fan_in)
{
    double bound = 1.0 / sqrt((double)fan_in);
    return (nt_init){.type = NT_INIT_UNIFORM, .a = -bound, .b = bound, .fan_in = fan_in};
}

nt_init nt_init_resolve_weight(const nt_init_options *options, int64_t fan_in, int64_t fan_out)
{
    double gain = options->gain; /* NaN (auto) and 0 (a zeroed struct) mean the default */
    bool given = gain > 0;
    switch ((nt_init_choice)options->type) {
    case NT_INIT_CHOICE_KAIMING:
        return (nt_init){NT_INIT_KAIMING, given ? gain : sqrt(2.0), 0, fan_in, fan_out};
    case NT_INIT_CHOICE_XAVIER:
        return (nt_init){NT_INIT_XAVIER, given ? gain : 1.0, 0, fan_in, fan_out};
    case NT_INIT_CHOICE_NORMAL:
        return (nt_init){NT_INIT_NORMAL, 0, options->std, fan_in, fan_out};
    case NT_INIT_CHOICE_TRUNC_NORMAL:
        return (nt_init){NT_INIT_TRUNC_NORMAL, 0, options->std, fan_in, fan_out};
    case NT_INIT_CHOICE_ZEROS:
        return nt_init_constant(0);
    case NT_INIT_CHOICE_ONES:
        return nt_init_constant(1);
    case NT_INIT_CHOICE_AUTO:
        break;
    }
    return uniform_by_fan(fan_in);
}

nt_init nt_init_resolve_bias(const nt_init_options *options, int64_t fan_in)
{
    if (!isnan(options->bias)) return nt_init_constant(options->bias);
    return options->type == NT_INIT_CHOICE_AUTO ? uniform_by_fan(fan_in) : nt_init_constant(0);
}

/* Four numbers of the block at `block` (element / 4) on the given attempt. */
typedef struct draw4 {
    double v[4];
} draw4;

static nt_philox block_at(uint64_t seed, uint32_t param_id, int64_t block, uint32_t attempt)
{
    return nt_rng_block(seed, NT_RNG_INIT, attempt, (uint32_t)block, (uint32_t)((uint64_t)block >> 32),
                        param_id);
}

static draw4 draw_uniform(uint64_t seed, uint32_t param_id, int64_t block)
{
    nt_philox words = block_at(seed, param_id, block, 0);
    draw4 out;
    for (int i = 0; i < 4; i++)
        out.v[i] = nt_rng_uniform(words.v[i]);
    return out;
}

static draw4 draw_normal(uint64_t seed, uint32_t param_id, int64_t block, uint32_t attempt)
{
    nt_philox words = block_at(seed, param_id, block, attempt);
    draw4 out;
    nt_rng_normal(words.v[0], words.v[1], out.v);
    nt_rng_normal(words.v[2], words.v[3], out.v + 2);
    return out;
}

/* Draws again what is outside the truncation; one in 22 is, so the loop is short. */
static draw4 draw_truncated(uint64_t seed, uint32_t param_id, int64_t block)
{
    draw4 out = draw_normal(seed, param_id, block, 0);
    for (int i = 0; i < 4; i++)
        for (uint32_t attempt = 1; fabs(out.v[i]) > TRUNCATION; attempt++)
            out.v[i] = draw_normal(seed, param_id, block, attempt).v[i];
    return out;
}

/* out[e] = mean + spread * number e of the given kind. */
static void fill_drawn(float *out, int64_t n, nt_init_type kind, double mean, double spread, uint64_t seed,
                       uint32_t param_id)
{
    for (int64_t block = 0; block * 4 < n; block++) {
        draw4 draw = kind == NT_INIT_UNIFORM  ? draw_uniform(seed, param_id, block)
                     : kind == NT_INIT_NORMAL ? draw_normal(seed, param_id, block, 0)
                                              : draw_truncated(seed, param_id, block);
        for (int i = 0; i < 4 && block * 4 + i < n; i++)
            out[block * 4 + i] = (float)(mean + spread * draw.v[i]);
    }
}

static void fill_constant(float *out, int64_t n, double value)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = (float)value;
}

nt_status nt_init_fill(float *out, int64_t n, const nt_init *init, uint64_t seed, uint32_t param_id)
{
    bool by_fan = init->type == NT_INIT_KAIMING || init->type == NT_INIT_XAVIER;
    NT_BUG_UNLESS(n >= 0, "cannot initialise %lld elements", (long long)n);
    NT_BUG_UNLESS(isfinite(init->a) && isfinite(init->b), "initial values from %g, %g", init->a, init->b);
    NT_BUG_UNLESS(!by_fan || (init->fan_in >= 1 && init->fan_out >= 1), "fan_in %lld, fan_out %lld",
                  (long long)init->fan_in, (long long)init->fan_out);
    nt_init_type kind = init->type;
    double mean = init->a, spread = init->b;
    if (kind == NT_INIT_CONSTANT) {
        fill_constant(out, n, init->a);
        return NT_OK;
    }
    if (kind == NT_INIT_UNIFORM) {
        spread = init->b - init->a;
    } else if (kind == NT_INIT_KAIMING) {
        kind = NT_INIT_NORMAL;
        mean = 0;
        spread = init->a / sqrt((double)init->fan_in);
    } else if (kind == NT_INIT_XAVIER) {
        double bound = init->a * sqrt(6.0 / ((double)init->fan_in + (double)init->fan_out));
        kind = NT_INIT_UNIFORM;
        mean = -bound;
        spread = 2 * bound;
    }
    NT_BUG_UNLESS(spread >= 0, "initial values with the negative spread %g", spread);
    fill_drawn(out, n, kind, mean, spread, seed, param_id);
    return NT_OK;
}
