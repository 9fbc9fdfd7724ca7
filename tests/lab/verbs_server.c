/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lab_verbs_server ADDRESS PORT CLIENTS COUNT [DEVICE OFFSET]: serve memory to lab_verbs_client, one-sided.
 *
 * The memory is anonymous, or 2 MiB of a devdax device.  The CPU touches it before the first client comes and after the last
 * one has gone, because a word has one atomicity domain; then it checks what the clients have done.
 *
 * Exit status: 0 all held, 1 something did not, 2 a call failed.
 */
#include "verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static unsigned char *memory;
static struct ibv_mr *served;
static struct rdma_cm_id *clients[CLIENTS_MAX];

static int give_up(const char *what)
{
	fprintf(stderr, "lab_verbs_server: %s: %s\n", what, strerror(errno));
	return 2;
}

static int take_memory(const char *device, const char *offset)
{
	int fd = device ? open(device, O_RDWR | O_CLOEXEC) : -1;

	if (device && fd < 0)
		return give_up(device);
	memory = mmap(NULL, SERVED_BYTES, PROT_READ | PROT_WRITE, fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd,
		device ? strtoll(offset, NULL, 0) : 0);
	if (memory == MAP_FAILED)
		return give_up("mmap");
	if (fd >= 0)
		close(fd);
	memset(memory, 0, SERVED_BYTES);
	pattern_fill(memory + SERVER_PATTERN_OFF, 0);
	return 0;
}

static int listen_at(char *address, char *port, struct rdma_cm_id **listener)
{
	struct rdma_addrinfo hints = {.ai_flags = RAI_PASSIVE, .ai_port_space = RDMA_PS_TCP}, *found = NULL;

	if (rdma_getaddrinfo(address, port, &hints, &found) != 0)
		return give_up("rdma_getaddrinfo");
	if (rdma_create_ep(listener, found, NULL, NULL) != 0)
		return give_up("rdma_create_ep");
	rdma_freeaddrinfo(found);
	if (rdma_listen(*listener, CLIENTS_MAX) != 0)
		return give_up("rdma_listen");
	puts("listening");
	fflush(stdout);
	return 0;
}

static int accept_client(struct rdma_cm_id *listener, struct rdma_cm_id **client)
{
	struct ibv_qp_init_attr queue = {.qp_type = IBV_QPT_RC,
		.cap = {.max_send_wr = 1, .max_recv_wr = 1, .max_send_sge = 1, .max_recv_sge = 1}};
	struct welcome welcome = {.address = (uintptr_t)memory, .bytes = SERVED_BYTES};
	struct rdma_conn_param param = {.private_data = &welcome, .private_data_len = sizeof(welcome),
		.responder_resources = 1, .initiator_depth = 1, .retry_count = RETRIES, .rnr_retry_count = RETRIES};

	if (rdma_get_request(listener, client) != 0)
		return give_up("rdma_get_request");
	if (!served) {
		served = ibv_reg_mr((*client)->pd, memory, SERVED_BYTES,
			IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC);
		if (!served)
			return give_up("ibv_reg_mr");
	}
	if (rdma_create_qp(*client, served->pd, &queue) != 0)
		return give_up("rdma_create_qp");
	welcome.rkey = served->rkey;
	return rdma_accept(*client, &param) != 0 ? give_up("rdma_accept") : 0;
}

static int wait_gone(struct rdma_cm_id *client)
{
	struct rdma_cm_event *event = NULL;
	enum rdma_cm_event_type type;

	do {
		if (rdma_get_cm_event(client->channel, &event) != 0)
			return give_up("rdma_get_cm_event");
		type = event->event;
		rdma_ack_cm_event(event);
	} while (type != RDMA_CM_EVENT_DISCONNECTED);
	return 0;
}

static uint64_t word_at(uint64_t offset)
{
	uint64_t word;

	memcpy(&word, memory + offset, sizeof(word));
	return word;
}

static int check(unsigned count_clients, uint64_t count)
{
	for (unsigned client = 1; client <= count_clients; client++) {
		if (!pattern_holds(memory + CLIENT_PATTERN_OFF(client), client)) {
			printf("the page of client %u holds other bytes than it wrote\n", client);
			return 1;
		}
	}
	printf("counter %llu, guarded %llu, lock %llu\n", (unsigned long long)word_at(COUNTER_OFF),
		(unsigned long long)word_at(GUARDED_OFF), (unsigned long long)word_at(LOCK_OFF));
	return word_at(COUNTER_OFF) == count * count_clients && word_at(GUARDED_OFF) == count / LOCK_PART * count_clients &&
			word_at(LOCK_OFF) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
	unsigned count_clients = argc == 5 || argc == 7 ? (unsigned)atoi(argv[3]) : 0;
	struct rdma_cm_id *listener = NULL;
	int status;

	if (count_clients < 1 || count_clients >= CLIENTS_MAX) {
		fputs("usage: lab_verbs_server ADDRESS PORT CLIENTS COUNT [DEVICE OFFSET]\n", stderr);
		return 2;
	}
	alarm(5 * DEADLINE_MS / 1000);
	status = take_memory(argv[5], argc == 7 ? argv[6] : NULL);
	status = status ? status : listen_at(argv[1], argv[2], &listener);
	for (unsigned i = 0; i < count_clients && status == 0; i++)
		status = accept_client(listener, &clients[i]);
	for (unsigned i = 0; i < count_clients && status == 0; i++)
		status = wait_gone(clients[i]);
	return status ? status : check(count_clients, strtoull(argv[4], NULL, 0));
}
