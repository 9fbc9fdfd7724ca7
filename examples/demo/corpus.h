/* SPDX-License-Identifier: Apache-2.0 */
/* corpus.h: the text that is indexed: which files there are, and their words. */
#ifndef DEMO_CORPUS_H
#define DEMO_CORPUS_H

#include <stddef.h>
#include <stdint.h>

struct index_writer;

struct corpus {
	char **paths;
	size_t count, capacity;
	uint64_t bytes; /* of all files in the list */
};

/* Add the regular files below `folder`, in the order of their names; links, .git and build folders are left out.
 * 0 or -errno. */
int corpus_find(struct corpus *corpus, const char *folder);
void corpus_free(struct corpus *corpus);

/* Index one file.  0; 1 it is no text, can't be read or is larger than 16 MiB, and was left out; -errno. */
int corpus_index(struct index_writer *writer, const char *path);

#endif
