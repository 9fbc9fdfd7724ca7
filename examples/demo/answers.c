/* SPDX-License-Identifier: Apache-2.0 */
/* answers.c: the timed batch, and the answers that are shown; the same code for both kinds of readers. */
#include <string.h>

#include "demo.h"

static int batch_answer(struct query_index *index, const struct demo_task *task, struct demo_report *report)
{
	struct query_answer answer;

	for (int i = 0; i < DEMO_QUERIES; i++) {
		int error = query_answer(index, task->queries[i], &answer);

		if (error)
			return error;
		report->digests[i] = query_digest(index, &answer);
		if (i == 0)
			report->first_ns = clock_ns();
	}
	report->last_ns = clock_ns();
	return index->error;
}

/* The digest has refreshed the file nodes that are read here. */
static int shown_answer(struct query_index *index, const char *query, struct demo_shown *shown)
{
	struct query_answer answer;
	uint64_t begin = clock_ns();
	int error = query_answer(index, query, &answer);

	shown->took_ns = clock_ns() - begin;
	if (error)
		return error;
	(void)query_digest(index, &answer);
	shown->files = answer.files;
	shown->hits = answer.hits;
	shown->top_count = answer.top_count;
	for (uint32_t i = 0; i < answer.top_count; i++) {
		size_t bytes = answer.top[i].file->path_bytes;

		bytes = bytes < DEMO_PATH_BYTES ? bytes : DEMO_PATH_BYTES - 1;
		memcpy(shown->top[i].path, answer.top[i].file->path, bytes);
		shown->top[i].path[bytes] = '\0';
		shown->top[i].line = answer.top[i].first_line;
		shown->top[i].hits = answer.top[i].hits;
	}
	return index->error;
}

int answers_make(struct query_index *index, const struct demo_task *task, struct demo_report *report)
{
	int error = batch_answer(index, task, report);

	if (!error)
		error = query_trace(index, task->traced, &report->path);
	for (uint32_t i = 0; i < task->shown_count && !error; i++)
		error = shown_answer(index, task->shown[i], &report->shown[i]);
	return error;
}
