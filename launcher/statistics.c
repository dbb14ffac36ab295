/* Arithmetic and tables of an evaluation; no state. */
#include "launcher/statistics.h"

#include "core/text.h"

#include <math.h>

#define LARGEST_MATRIX 20
#define NAME_COLUMNS   16

/* Of a share p among `count` independent answers, which need not be a whole number. */
static nt_range score_interval(double p, double count)
{
    const double z = 1.959963984540054, z2 = z * z; /* 97.5 % quantile of the standard normal */
    double center = (p + z2 / (2 * count)) / (1 + z2 / count);
    double half = z / (1 + z2 / count) * sqrt(p * (1 - p) / count + z2 / (4 * count * count));
    return (nt_range){p == 0 ? 0 : fmax(0, center - half), p == 1 ? 1 : fmin(1, center + half)};
}

nt_range nt_wilson(int64_t correct, int64_t n)
{
    if (n <= 0) return (nt_range){0, 1};
    return score_interval((double)correct / (double)n, (double)n);
}

nt_range nt_wilson_of_clusters(int64_t correct, int64_t answers, const nt_clusters *c)
{
    if (answers <= 0 || !(c->n > 0)) return (nt_range){0, 1};
    const double p = (double)correct / (double)answers, all = (double)answers;
    const double squares = c->right2 - 2 * p * c->right_answers + p * p * c->answers2;
    const bool varies = c->n >= 2 && squares > 1e-12 * c->right2; /* more than rounding leaves */
    const double variance = c->n / (c->n - 1) * squares / (all * all);
    return score_interval(p, varies ? fmin(all, p * (1 - p) / variance) : c->n);
}

double nt_spread(double sum, double sum_of_squares, int64_t n)
{
    if (n <= 0) return 0;
    double mean = sum / (double)n;
    return sqrt(fmax(0, sum_of_squares / (double)n - mean * mean));
}

nt_class_score nt_confusion_score(const nt_confusion *confusion, int64_t class_index)
{
    const int64_t k = confusion->n_classes;
    double right = confusion->count[class_index * k + class_index], there = 0, predicted = 0;
    for (int64_t j = 0; j < k; j++) {
        there += confusion->count[class_index * k + j];
        predicted += confusion->count[j * k + class_index];
    }
    return (nt_class_score){.precision = predicted > 0 ? right / predicted : NAN,
                            .recall = there > 0 ? right / there : NAN,
                            .n = (int64_t)there};
}

int64_t nt_argmax(const float *value, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (value[i] > value[best] || isnan(value[best])) best = i;
    return best;
}

/* The class's name, made safe for a terminal, or its number: a model may have more outputs than the data have
 * classes. */
static void class_label(char *text, size_t cap, const nt_class_names *names, int64_t index)
{
    if (index < names->n)
        nt_text_escape(text, cap, names->name[index]);
    else
        snprintf(text, cap, "%lld", (long long)index);
}

static void print_scores(const nt_confusion *confusion, const nt_class_names *names, FILE *out)
{
    fprintf(out, "\n%-*s %10s %10s %10s\n", NAME_COLUMNS, "class", "precision", "recall", "samples");
    for (int64_t i = 0; i < confusion->n_classes; i++) {
        char label[64], precision[16] = "-", recall[16] = "-";
        nt_class_score score = nt_confusion_score(confusion, i);
        class_label(label, sizeof label, names, i);
        if (!isnan(score.precision)) snprintf(precision, sizeof precision, "%.4f", score.precision);
        if (!isnan(score.recall)) snprintf(recall, sizeof recall, "%.4f", score.recall);
        fprintf(out, "%-*s %10s %10s %10lld\n", NAME_COLUMNS, label, precision, recall, (long long)score.n);
    }
}

static void print_matrix(const nt_confusion *confusion, const nt_class_names *names, FILE *out)
{
    char label[64];
    const int64_t k = confusion->n_classes;
    fprintf(out, "\nconfusion (rows: truth, columns: prediction)\n%-*s", NAME_COLUMNS, "");
    for (int64_t j = 0; j < k; j++) {
        class_label(label, sizeof label, names, j);
        fprintf(out, " %7.7s", label);
    }
    for (int64_t i = 0; i < k; i++) {
        class_label(label, sizeof label, names, i);
        fprintf(out, "\n%-*.*s", NAME_COLUMNS, NAME_COLUMNS, label);
        for (int64_t j = 0; j < k; j++)
            fprintf(out, " %7.0f", confusion->count[i * k + j]);
    }
    fprintf(out, "\n");
}

void nt_confusion_print(const nt_confusion *confusion, const nt_class_names *names, FILE *out)
{
    print_scores(confusion, names, out);
    if (confusion->n_classes <= LARGEST_MATRIX)
        print_matrix(confusion, names, out);
    else
        fprintf(out, "\n(%lld classes: the confusion matrix is not printed)\n",
                (long long)confusion->n_classes);
}
