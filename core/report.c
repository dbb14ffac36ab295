/* Plain loops over a handful of numbers. Not finite is decided from sums: a sum of squares is finite only if
 * all its terms are. */
#include "core/report.h"

#include <math.h>
#include <string.h>

static double real_at(const void *array, nt_dtype real, int64_t i)
{
    return real == NT_F32 ? (double)((const float *)array)[i] : ((const double *)array)[i];
}

void nt_host_add_losses(nt_report *report, const void *y, nt_dtype real, int64_t n)
{
    double sum = 0, squared = 0, correct = 0;
    for (int64_t i = 0; i < n; i++) {
        double loss = real_at(y, real, 2 * i);
        sum += loss;
        squared += loss * loss;
        correct += real_at(y, real, 2 * i + 1);
    }
    report->loss += sum;
    report->loss_squared += squared;
    report->correct += correct;
}

static double sum_of(const double *values, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += values[i];
    return sum;
}

void nt_host_judge(nt_report *report, double *squares, int n, int n_others, double clip)
{
    double sum = sum_of(squares, n), norm = sqrt(sum);
    if (!isfinite(sum_of(squares + n, n_others))) sum = (double)NAN;
    report->sum_squares = sum;
    report->scale = !isfinite(sum) ? (double)NAN : clip > 0 && norm > clip ? clip / norm : 1;
    memset(squares, 0, (size_t)(n + n_others) * sizeof *squares);
}

void nt_host_ratios(double *pairs, const double *decay, const double *scale, double coefficient, int n)
{
    for (int i = 0; i < n; i++) {
        double w = sqrt(pairs[2 * i]), g = sqrt(pairs[2 * i + 1]) * (scale ? *scale : 1);
        pairs[2 * i] = w == 0 || g == 0 ? 1 : coefficient * w / (g + decay[i] * w);
    }
}
