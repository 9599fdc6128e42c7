/* golden.h: expectations that live in files beside the inputs.
 *
 * A test makes a text and compares it with a file of the source tree; with ATTNC_UPDATE=1
 * in the environment the file is written instead, and the diff is for a person to review.
 */
#ifndef ATTNC_TESTS_GOLDEN_H
#define ATTNC_TESTS_GOLDEN_H

#include <stdbool.h>
#include <stddef.h>

/* True when `text` is what the file (a path below the source tree) holds, or when it was
 * updated.  Prints the first line that differs. */
bool golden_same(const char *path, const char *text);
/* The whole file below the source tree, 0-terminated, malloc'd; NULL if there is none. */
char *golden_read(const char *path, size_t *n);
/* Names in a folder below the source tree that end in `suffix`, sorted, without it;
 * malloc'd as the list is. */
char **golden_list(const char *folder, const char *suffix, int *n);
void golden_list_free(char **, int n);

#endif
