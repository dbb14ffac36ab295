/* Statistics of an evaluation: how sure an accuracy is, and where a classifier errs. Pure functions. */
#ifndef NT_LAUNCHER_STATISTICS_H
#define NT_LAUNCHER_STATISTICS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct nt_range {
    double low, high;
} nt_range;

/* 95 % score interval of a proportion, correct out of n (Wilson 1927). n = 0: [0, 1]. */
nt_range nt_wilson(int64_t correct, int64_t n);

/* Sums over samples that give several answers each: of right ones squared, right ones times answers, answers
 * squared; n samples with any. */
typedef struct nt_clusters {
    double n, right2, right_answers, answers2;
} nt_clusters;

/* The same where the answers of a sample hang together, as neighbouring tokens and pixels do, and only
 * samples are independent: Wilson's interval for as many independent answers as would have the variance that
 * shows between samples (the ratio estimator of cluster sampling, Cochran 1977, 11.7; the effective size,
 * Kish 1965). Never narrower than Wilson's own; where nothing varies, each sample counts once. */
nt_range nt_wilson_of_clusters(int64_t correct, int64_t answers, const nt_clusters *clusters);

/* Standard deviation of a population from its sums; 0 for n = 0. Never negative under the root. */
double nt_spread(double sum, double sum_of_squares, int64_t n);

/* Names of the first n classes; the others go by their number. */
typedef struct nt_class_names {
    int64_t n;
    char *const *name;
} nt_class_names;

/* Counts of a classifier, (n_classes, n_classes): rows the truth, columns the prediction. */
typedef struct nt_confusion {
    int64_t n_classes;
    double *count; /* whole numbers; doubles because ranks add them with nt_comm_host_reduce */
} nt_confusion;

/* Of one class: precision = right / predicted, recall = right / there; NaN where nothing is divided by. */
typedef struct nt_class_score {
    double precision, recall;
    int64_t n; /* samples of the class */
} nt_class_score;
nt_class_score nt_confusion_score(const nt_confusion *confusion, int64_t class_index);

/* Index of the largest of n values, the first one if there are several; NaN never wins. */
int64_t nt_argmax(const float *value, int64_t n);

/* Per-class table, and the matrix itself up to 20 classes. names may be NULL. */
void nt_confusion_print(const nt_confusion *confusion, const nt_class_names *names, FILE *out);

#endif
