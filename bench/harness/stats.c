/* SPDX-License-Identifier: Apache-2.0 */
/* stats.c: order statistics.  Means are not used: one disturbed round would move them. */
#include "harness/harness.h"

#include <stdlib.h>

static int compare(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return (left > right) - (left < right);
}

void bench_sort(double *values, size_t count)
{
	qsort(values, count, sizeof(*values), compare);
}

/* Linear between the two nearest ranks. */
double bench_quantile(const double *sorted, size_t count, double at)
{
	double rank = at * (double)(count - 1);
	size_t below = (size_t)rank;

	if (below + 1 >= count)
		return sorted[count - 1];
	return sorted[below] + (rank - (double)below) * (sorted[below + 1] - sorted[below]);
}
