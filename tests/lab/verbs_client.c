/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lab_verbs_client ADDRESS PORT CLIENT CLIENTS COUNT: the four one-sided operations on a lab_verbs_server.
 *
 * READs the server's pattern, WRITEs its own and reads it back, adds 1 COUNT times with FAA, takes a lock COUNT/3 times with
 * CAS to increment a word with READ and WRITE, and last reads beyond the end, which the card must refuse.
 *
 * Exit status: 0 all held, 1 something did not, 2 a call failed.
 */
#include "verbs.h"

#include <errno.h>
#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define POLL_NS 20000

static struct rdma_cm_id *id;
static int connected;
static struct ibv_mr *local;
static struct welcome server;
static _Alignas(4096) unsigned char buffer[PATTERN_BYTES];

static int give_up(const char *what)
{
	fprintf(stderr, "lab_verbs_client: %s: %s\n", what, strerror(errno));
	return 2;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int connect_to(char *address, char *port)
{
	struct rdma_addrinfo hints = {.ai_port_space = RDMA_PS_TCP}, *found = NULL;
	struct ibv_qp_init_attr queue = {.qp_type = IBV_QPT_RC,
		.cap = {.max_send_wr = 8, .max_recv_wr = 1, .max_send_sge = 1, .max_recv_sge = 1}};
	struct rdma_conn_param param = {.responder_resources = 1, .initiator_depth = 1, .retry_count = RETRIES,
		.rnr_retry_count = RETRIES};

	if (rdma_getaddrinfo(address, port, &hints, &found) != 0)
		return give_up("rdma_getaddrinfo");
	if (rdma_create_ep(&id, found, NULL, &queue) != 0)
		return give_up("rdma_create_ep");
	rdma_freeaddrinfo(found);
	local = ibv_reg_mr(id->pd, buffer, sizeof(buffer), IBV_ACCESS_LOCAL_WRITE);
	if (!local)
		return give_up("ibv_reg_mr");
	if (rdma_connect(id, &param) != 0)
		return give_up("rdma_connect");
	if (!id->event || id->event->param.conn.private_data_len < sizeof(server))
		return give_up("the server's answer is too short");
	connected = 1;
	memcpy(&server, id->event->param.conn.private_data, sizeof(server));
	return 0;
}

/* Post one operation on `bytes` of the buffer and wait for its end; the status of its completion, or -1. */
static int operate(enum ibv_wr_opcode opcode, uint64_t offset, uint32_t bytes, uint64_t compare_add, uint64_t swap)
{
	struct ibv_sge place = {.addr = (uintptr_t)buffer, .length = bytes, .lkey = local->lkey};
	struct ibv_send_wr work = {.sg_list = &place, .num_sge = 1, .opcode = opcode, .send_flags = IBV_SEND_SIGNALED};
	struct ibv_send_wr *bad = NULL;
	struct ibv_wc done = {.status = IBV_WC_SUCCESS};
	uint64_t deadline = now_ms() + DEADLINE_MS;
	int got = 0;

	if (opcode == IBV_WR_RDMA_READ || opcode == IBV_WR_RDMA_WRITE) {
		work.wr.rdma.remote_addr = server.address + offset;
		work.wr.rdma.rkey = server.rkey;
	} else {
		work.wr.atomic.remote_addr = server.address + offset;
		work.wr.atomic.rkey = server.rkey;
		work.wr.atomic.compare_add = compare_add;
		work.wr.atomic.swap = swap;
	}
	if (ibv_post_send(id->qp, &work, &bad) != 0)
		return -1;
	/* Asleep between two looks: the emulated processors do the cards' work too. */
	while ((got = ibv_poll_cq(id->send_cq, 1, &done)) == 0 && now_ms() < deadline)
		nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
	return got == 1 ? (int)done.status : -1;
}

/* One operation that has to succeed; ends the program otherwise. */
static void must(enum ibv_wr_opcode opcode, uint64_t offset, uint32_t bytes, uint64_t compare_add, uint64_t swap)
{
	int status = operate(opcode, offset, bytes, compare_add, swap);

	if (status != IBV_WC_SUCCESS) {
		printf("operation %d at %llu: %s\n", (int)opcode, (unsigned long long)offset,
			status < 0 ? "no completion" : ibv_wc_status_str((enum ibv_wc_status)status));
		exit(1);
	}
}

static uint64_t result(void)
{
	uint64_t word;

	memcpy(&word, buffer, sizeof(word));
	return word;
}

static uint64_t fetch_add(uint64_t offset, uint64_t amount)
{
	must(IBV_WR_ATOMIC_FETCH_AND_ADD, offset, 8, amount, 0);
	return result();
}

static uint64_t compare_swap(uint64_t offset, uint64_t expected, uint64_t wanted)
{
	must(IBV_WR_ATOMIC_CMP_AND_SWP, offset, 8, expected, wanted);
	return result();
}

static uint64_t read_word(uint64_t offset)
{
	must(IBV_WR_RDMA_READ, offset, 8, 0, 0);
	return result();
}

static void write_word(uint64_t offset, uint64_t word)
{
	memcpy(buffer, &word, sizeof(word));
	must(IBV_WR_RDMA_WRITE, offset, 8, 0, 0);
}

/* Wait for all clients for the `turn`-th time, so that they are in each other's way afterwards. */
static int meet(uint64_t clients, uint64_t turn)
{
	uint64_t deadline = now_ms() + DEADLINE_MS;

	fetch_add(BARRIER_OFF, 1);
	while (read_word(BARRIER_OFF) < clients * turn) {
		if (now_ms() > deadline) {
			puts("the other clients did not come");
			return 1;
		}
	}
	return 0;
}

static int run_patterns(uint64_t client)
{
	must(IBV_WR_RDMA_READ, SERVER_PATTERN_OFF, PATTERN_BYTES, 0, 0);
	if (!pattern_holds(buffer, 0)) {
		puts("READ brought other bytes than the server has");
		return 1;
	}
	pattern_fill(buffer, client);
	must(IBV_WR_RDMA_WRITE, CLIENT_PATTERN_OFF(client), PATTERN_BYTES, 0, 0);
	memset(buffer, 0, sizeof(buffer));
	must(IBV_WR_RDMA_READ, CLIENT_PATTERN_OFF(client), PATTERN_BYTES, 0, 0);
	if (!pattern_holds(buffer, client)) {
		puts("READ brought other bytes than WRITE wrote");
		return 1;
	}
	return 0;
}

static int run_adds(uint64_t count)
{
	uint64_t last = 0;

	for (uint64_t i = 0; i < count; i++) {
		uint64_t before = fetch_add(COUNTER_OFF, 1);

		if (i > 0 && before <= last) {
			printf("FAA returned %llu after %llu\n", (unsigned long long)before, (unsigned long long)last);
			return 1;
		}
		last = before;
	}
	return 0;
}

static int run_locks(uint64_t client, uint64_t count)
{
	uint64_t contended = 0;

	for (uint64_t i = 0; i < count / LOCK_PART; i++) {
		while (compare_swap(LOCK_OFF, 0, client) != 0)
			contended++;
		write_word(GUARDED_OFF, read_word(GUARDED_OFF) + 1);
		if (compare_swap(LOCK_OFF, client, 0) != client) {
			puts("the lock was not ours when we freed it");
			return 1;
		}
	}
	printf("client %llu: %llu FAA, %llu locked increments (%llu times the lock was taken)\n", (unsigned long long)client,
		(unsigned long long)count, (unsigned long long)count / LOCK_PART, (unsigned long long)contended);
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t client = argc == 6 ? strtoull(argv[3], NULL, 0) : 0;
	uint64_t clients = argc == 6 ? strtoull(argv[4], NULL, 0) : 0, count = argc == 6 ? strtoull(argv[5], NULL, 0) : 0;
	int status;

	if (client == 0 || client > CLIENTS_MAX) {
		fputs("usage: lab_verbs_client ADDRESS PORT CLIENT CLIENTS COUNT\n", stderr);
		return 2;
	}
	alarm(3 * DEADLINE_MS / 1000);
	status = connect_to(argv[1], argv[2]);
	status = status ? status : run_patterns(client);
	status = status ? status : meet(clients, 1);
	status = status ? status : run_adds(count);
	status = status ? status : meet(clients, 2);
	status = status ? status : run_locks(client, count);
	if (status == 0 && operate(IBV_WR_RDMA_READ, server.bytes - 8, 16, 0, 0) != IBV_WC_REM_ACCESS_ERR) {
		puts("a READ beyond the end was not refused");
		status = 1;
	}
	/* Without a connection this would wait for ever. */
	if (connected)
		rdma_disconnect(id);
	return status;
}
