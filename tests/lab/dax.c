/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lab_dax COMMAND DEVICE OFFSET ...: plain loads, stores and atomics on a devdax device, without libdmem, so that the lab
 * knows what the emulation does before it blames the library.  Every command maps the whole device at the same address.
 *
 *   add DEVICE OFFSET COUNT HOST HOSTS   wait for all HOSTS, then add 1 COUNT times to the word at OFFSET;
 *                                        print how often another host came in between
 *   clear DEVICE OFFSET BYTES            fill with zeros
 *   get DEVICE OFFSET                    print the word
 *   write DEVICE OFFSET SEED BYTES       fill with numbers and with pointers to themselves
 *   check DEVICE OFFSET SEED BYTES       compare with what "write SEED" has written, follow the pointers
 *   beat DEVICE OFFSET MS                for MS, add 1 to the word each millisecond
 *   still DEVICE OFFSET MS LIMIT_MS      wait until the word, once moving, stands still for MS; print how long it moved
 *   moving DEVICE OFFSET LIMIT_MS        wait until the word moves
 *   poison DEVICE OFFSET                 MADV_HWPOISON the page at OFFSET; print how the loss shows itself
 *   bystander DEVICE OFFSET MS           touch the page, ask to be told early, wait MS for SIGBUS; print what comes
 *
 * Exit status: 0 done and as wanted, 1 not as wanted, 2 can't be done here.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

/* Where the pools' default window begins: what holds here holds for them. */
#define MAP_BASE ((void *)0x200000000000)
#define UNIT_BYTES ((size_t)2 << 20)
#define LINE_BYTES 64
#define WAIT_MS 30000

static unsigned char *device;
static size_t device_bytes;

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void sleep_ms(unsigned ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000}, NULL);
}

static int give_up(const char *what)
{
	fprintf(stderr, "lab_dax: %s: %s\n", what, strerror(errno));
	return 2;
}

/* A devdax device has no length of its own; sysfs knows it. */
static size_t device_size(int fd)
{
	struct stat status;
	char path[128], text[32];
	ssize_t got;
	int size_fd;

	if (fstat(fd, &status) != 0)
		return 0;
	if (S_ISREG(status.st_mode))
		return (size_t)status.st_size;
	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/size", major(status.st_rdev), minor(status.st_rdev));
	size_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (size_fd < 0)
		return 0;
	got = read(size_fd, text, sizeof(text) - 1);
	close(size_fd);
	text[got > 0 ? got : 0] = '\0';
	return strtoull(text, NULL, 10);
}

static int map_device(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return give_up(path);
	device_bytes = device_size(fd);
	device = mmap(MAP_BASE, device_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
	close(fd);
	return device == MAP_FAILED ? give_up("mmap") : 0;
}

static _Atomic uint64_t *word_at(size_t offset)
{
	return (_Atomic uint64_t *)(void *)(device + offset);
}

/* Wait until the word is other than `seen`, at most `ms`; true when it is. */
static int wait_change(_Atomic uint64_t *word, uint64_t seen, uint64_t ms)
{
	uint64_t deadline = now_ms() + ms;

	while (atomic_load(word) == seen) {
		if (now_ms() > deadline)
			return 0;
		sleep_ms(1);
	}
	return 1;
}

/* The lines after the word are the hosts' flags; each is written by one host only, so the start needs no atomics. */
static int run_add(size_t offset, char **args)
{
	uint64_t count = strtoull(args[0], NULL, 0);
	unsigned host = (unsigned)atoi(args[1]), hosts = (unsigned)atoi(args[2]);
	_Atomic uint64_t *word = word_at(offset);

	atomic_store(word_at(offset + (size_t)host * LINE_BYTES), 1);
	for (unsigned other = 1; other <= hosts; other++) {
		if (!wait_change(word_at(offset + (size_t)other * LINE_BYTES), 0, WAIT_MS)) {
			fprintf(stderr, "lab_dax: host %u did not come\n", other);
			return 1;
		}
	}
	uint64_t begin = now_ms(), crossings = 0, last = 0;

	for (uint64_t i = 0; i < count; i++) {
		uint64_t before = atomic_fetch_add(word, 1);

		crossings += i > 0 && before != last + 1;
		last = before;
	}
	/* How often another host came in between: without that, a right sum says nothing. */
	printf("host %u added %llu in %llu ms\ncrossings %llu\n", host, (unsigned long long)count,
		(unsigned long long)(now_ms() - begin), (unsigned long long)crossings);
	return 0;
}

static int run_clear(size_t offset, char **args)
{
	memset(device + offset, 0, strtoull(args[0], NULL, 0));
	return 0;
}

static int run_get(size_t offset, char **args)
{
	(void)args;
	printf("%llu\n", (unsigned long long)atomic_load(word_at(offset)));
	return 0;
}

/* A pair of words: a number that depends on its place, and its own address. */
struct pair {
	uint64_t number;
	struct pair *self;
};

static uint64_t number_at(uint64_t seed, size_t i)
{
	return (seed + i) * UINT64_C(0x9e3779b97f4a7c15);
}

static int run_write(size_t offset, char **args)
{
	uint64_t seed = strtoull(args[0], NULL, 0);
	struct pair *pairs = (void *)(device + offset);
	size_t count = strtoull(args[1], NULL, 0) / sizeof(*pairs);

	for (size_t i = 0; i < count; i++)
		pairs[i] = (struct pair){.number = number_at(seed, i), .self = &pairs[i]};
	printf("wrote %zu pairs at %p\n", count, (void *)pairs);
	return 0;
}

static int run_check(size_t offset, char **args)
{
	uint64_t seed = strtoull(args[0], NULL, 0);
	struct pair *pairs = (void *)(device + offset);
	size_t count = strtoull(args[1], NULL, 0) / sizeof(*pairs);

	for (size_t i = 0; i < count; i++) {
		/* Through the writer's pointer, once it is known to be ours too. */
		if (pairs[i].self != &pairs[i] || pairs[i].self->number != number_at(seed, i)) {
			printf("pair %zu at %p holds %llx and %p\n", i, (void *)&pairs[i],
				(unsigned long long)pairs[i].number, (void *)pairs[i].self);
			return 1;
		}
	}
	printf("read %zu pairs at %p\n", count, (void *)pairs);
	return 0;
}

static int run_beat(size_t offset, char **args)
{
	uint64_t deadline = now_ms() + strtoull(args[0], NULL, 0);

	while (now_ms() < deadline) {
		atomic_fetch_add(word_at(offset), 1);
		sleep_ms(1);
	}
	return 0;
}

static int run_moving(size_t offset, char **args)
{
	_Atomic uint64_t *word = word_at(offset);

	return wait_change(word, atomic_load(word), strtoull(args[0], NULL, 0)) ? 0 : 1;
}

static int run_still(size_t offset, char **args)
{
	uint64_t still_ms = strtoull(args[0], NULL, 0), limit_ms = strtoull(args[1], NULL, 0), begin = now_ms();
	_Atomic uint64_t *word = word_at(offset);
	uint64_t seen = atomic_load(word), moves = 1;

	/* What never moved does not stand still. */
	if (!wait_change(word, seen, limit_ms)) {
		puts("never moved");
		return 1;
	}
	seen = atomic_load(word);
	puts("watching");
	fflush(stdout);
	while (wait_change(word, seen, still_ms)) {
		seen = atomic_load(word);
		moves++;
		if (now_ms() - begin > limit_ms) {
			printf("still moving after %llu ms\n", (unsigned long long)limit_ms);
			return 1;
		}
	}
	printf("stands still at %llu after %llu moves in %llu ms\n", (unsigned long long)seen, (unsigned long long)moves,
		(unsigned long long)(now_ms() - begin - still_ms));
	return 0;
}

static sigjmp_buf lost;
static volatile sig_atomic_t lost_code, lost_lsb;
static void *volatile lost_address;

static void on_sigbus(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	lost_code = info->si_code;
	lost_lsb = info->si_addr_lsb;
	lost_address = info->si_addr;
	siglongjmp(lost, 1);
}

static void catch_sigbus(void)
{
	struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};

	sigaction(SIGBUS, &action, NULL);
}

static void print_loss(size_t offset)
{
	printf("SIGBUS code=%d lsb=%d offset=%zd\n", (int)lost_code, (int)lost_lsb,
		(unsigned char *)lost_address - device - (ptrdiff_t)offset);
}

/* Is the word at `offset` there, with the bytes that were put there? */
static int readable(size_t offset)
{
	if (sigsetjmp(lost, 1) != 0)
		return 0;
	return *(volatile uint64_t *)(void *)(device + offset) == UINT64_C(0x5a5a5a5a5a5a5a5a);
}

/* The kernel sends the signal out of madvise: it knows who uses the page, and waits for nobody to read it. */
static int run_poison(size_t offset, char **args)
{
	(void)args;
	catch_sigbus();
	memset(device + offset - UNIT_BYTES, 0x5a, 3 * UNIT_BYTES);
	if (!readable(offset) || !readable(offset + UNIT_BYTES)) {
		puts("not readable before the poison");
		return 1;
	}
	if (sigsetjmp(lost, 1) == 0) {
		if (madvise(device + offset, (size_t)sysconf(_SC_PAGESIZE), MADV_HWPOISON) != 0)
			return give_up("madvise(MADV_HWPOISON)");
		puts("no SIGBUS");
		return 1;
	}
	print_loss(offset);
	printf("read again: %s\n", readable(offset) ? "readable" : "lost");
	printf("next unit: %s\n", readable(offset + UNIT_BYTES) ? "readable" : "lost");
	printf("unit before: %s\n", readable(offset - UNIT_BYTES) ? "readable" : "lost");
	return 0;
}

static int run_bystander(size_t offset, char **args)
{
	catch_sigbus();
	/* Else the kernel tells only who reads the page. */
	if (prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0) != 0)
		return give_up("prctl(PR_MCE_KILL)");
	if (sigsetjmp(lost, 1) == 0) {
		atomic_fetch_add(word_at(offset), 1);
		puts("watching");
		fflush(stdout);
		sleep_ms((unsigned)atoi(args[0]));
		puts("no SIGBUS");
		return 1;
	}
	print_loss(offset);
	return 0;
}

static const struct command {
	const char *name;
	int args;
	int (*run)(size_t offset, char **args);
} commands[] = {
	{"add", 3, run_add},
	{"beat", 1, run_beat},
	{"bystander", 1, run_bystander},
	{"check", 2, run_check},
	{"clear", 1, run_clear},
	{"get", 0, run_get},
	{"moving", 1, run_moving},
	{"poison", 0, run_poison},
	{"still", 2, run_still},
	{"write", 2, run_write},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc >= 4 && i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(commands[i].name, argv[1]) == 0 && commands[i].args == argc - 4) {
			int status = map_device(argv[2]);

			return status != 0 ? status : commands[i].run(strtoull(argv[3], NULL, 0), argv + 4);
		}
	}
	fputs("usage: lab_dax COMMAND DEVICE OFFSET ...; the source says more\n", stderr);
	return 2;
}
