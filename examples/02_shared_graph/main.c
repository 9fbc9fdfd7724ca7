/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 02_shared_graph: a graph of plain pointers, cycles included, built by one process and changed by another.
 * The visitor walks it, adds a city with roads in both directions, and the builder then walks over the new roads.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <dmem/dmem.h>

#define ROADS_MAX 4

struct city {
	char name[16];
	struct city *roads[ROADS_MAX]; /* NULL: none */
	uint64_t visited;              /* number of the walk that was here last; only the one who walks writes it */
};

static int complain(const char *what, int error)
{
	fprintf(stderr, "%s: %s\n%s\n", what, dmem_strerror(error), dmem_last_error());
	return 1;
}

static struct city *city_make(struct dmem_pool *pool, const char *name)
{
	struct dmem_alloc_options options = DMEM_ALLOC_OPTIONS_DEFAULT;
	struct city *city;

	options.zeroed = 1;
	city = dmem_alloc_ex(pool, sizeof(*city), &options);
	if (city)
		snprintf(city->name, sizeof(city->name), "%s", name);
	return city;
}

/* Roads lead both ways.  Publishing comes when the change is complete. */
static int road_make(struct city *a, struct city *b)
{
	int i = 0, j = 0, error;

	while (i < ROADS_MAX && a->roads[i])
		i++;
	while (j < ROADS_MAX && b->roads[j])
		j++;
	if (i == ROADS_MAX || j == ROADS_MAX)
		return -ENOSPC;
	a->roads[i] = b;
	b->roads[j] = a;
	error = dmem_publish(a, sizeof(*a));
	return error ? error : dmem_publish(b, sizeof(*b));
}

/* Depth first; returns how many cities there are, or a negative error. */
static int walk(struct city *city, uint64_t number)
{
	int count = 1, error = city ? dmem_refresh(city, sizeof(*city)) : -ENOENT;

	if (error)
		return error;
	if (city->visited == number)
		return 0;
	city->visited = number;
	error = dmem_publish(city, sizeof(*city));
	if (error)
		return error;
	printf("  process %d: %-8s at %p\n", (int)getpid(), city->name, (void *)city);
	for (int i = 0; i < ROADS_MAX && city->roads[i]; i++) {
		int found = walk(city->roads[i], number);

		if (found < 0)
			return found;
		count += found;
	}
	return count;
}

/* The other process: three cities are there; it adds a fourth. */
static int visit(const char *uri)
{
	struct dmem_pool *pool;
	struct city *first, *mine;
	int error = dmem_pool_attach(uri, NULL, &pool);

	if (error)
		return complain("visitor: attach", error);
	first = dmem_root_get(pool, "map");
	if (walk(first, 1) != 3)
		return complain("visitor: walk", -ENOENT);
	mine = city_make(pool, "Lagos");
	error = mine ? road_make(first, mine) : -errno;
	if (!error)
		error = road_make(first->roads[0], mine);
	return error ? complain("visitor: road", error) : dmem_pool_detach(pool) != 0;
}

static int build(struct dmem_pool *pool)
{
	struct city *a = city_make(pool, "Quito"), *b = city_make(pool, "Oslo"), *c = city_make(pool, "Hanoi");
	int error = a && b && c ? 0 : -ENOMEM;

	error = error ? error : road_make(a, b);
	error = error ? error : road_make(b, c);
	error = error ? error : road_make(c, a);
	error = error ? error : dmem_root_set(pool, "map", a);
	return error ? complain("build", error) : 0;
}

/* The first process.  Closing `go` tells the visitor that the map is there. */
static int run(const char *uri, pid_t visitor, int go)
{
	struct dmem_pool *pool;
	int error = dmem_pool_attach(uri, NULL, &pool), status;

	status = error ? complain("attach", error) : build(pool);
	close(go);
	if (waitpid(visitor, &error, 0) != visitor || error || status)
		return 1;
	printf("the first process again, over the visitor's roads:\n");
	status = walk(dmem_root_get(pool, "map"), 2) == 4 ? 0 : complain("last walk", -ENOENT);
	return dmem_pool_detach(pool) || status;
}

int main(void)
{
	int error, result = 1, go[2];
	char uri[64], nothing;
	pid_t visitor;

	setvbuf(stdout, NULL, _IOLBF, 0);
	snprintf(uri, sizeof(uri), "file:/dev/shm/dmem-graph.%d?size=64M", (int)getpid());
	error = dmem_pool_create(uri, NULL);
	if (error)
		return complain("create", error);
	visitor = pipe(go) == 0 ? fork() : -1; /* nobody has attached yet: the visitor inherits no mapping */
	if (visitor == 0) {
		close(go[1]);
		_exit(read(go[0], &nothing, 1) == 0 ? visit(uri) : 1);
	}
	if (visitor > 0)
		result = run(uri, visitor, go[1]);
	error = dmem_pool_destroy(uri);
	return error ? complain("destroy", error) : result;
}
