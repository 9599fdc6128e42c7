/* tune.h: what stands alone of `attnc tune`. */
#ifndef ATTNC_CLI_TUNE_H
#define ATTNC_CLI_TUNE_H

/* Ranks from 1, equal values sharing their mean rank; Spearman's coefficient. */
double spearman(const double *x, const double *y, int n);

#endif
