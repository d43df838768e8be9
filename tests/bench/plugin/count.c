// SPDX-License-Identifier: GPL-2.0
/*
 * A plugin of the emulator: how often each instruction of the guest is executed between two
 * addresses of its programs, the entries of two functions.
 *
 *	-plugin count.so,begin=0xADDRESS,end=0xADDRESS,out=FILE
 *
 * At the guest's end FILE has a line "ADDRESS COUNT" for each instruction that was, in no order and
 * perhaps more than one for the same.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * From the emulator's qemu-plugin.h, which Debian does not package. These have not changed since
 * the interface's first version; from emulator 9 on it wants to hear of the second.
 */
typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t,
					   void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, void (*)(unsigned int, void *),
					  int flags, void *);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);

int qemu_plugin_version = PLUGIN_VERSION;

/* Instructions that are executed one after the other. */
struct block {
	struct block *next;
	uint64_t count;
	size_t length;
	uint64_t address[];
};

static struct block *blocks;
static uint64_t begin, end;
static const char *out;
static bool counting;

static void executed(unsigned int cpu, void *argument)
{
	struct block *block = argument;

	(void)cpu;
	if (block->address[0] == begin)
		counting = true;
	else if (block->address[0] == end)
		counting = false;
	if (counting)
		block->count++;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t length = qemu_plugin_tb_n_insns(tb);
	struct block *block = calloc(1, sizeof(*block) + length * sizeof(*block->address));

	(void)id;
	if (!block)
		abort();
	block->length = length;
	for (size_t i = 0; i < length; i++)
		block->address[i] = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, i));
	block->next = blocks;
	blocks = block;
	qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, 0, block);
}

static void report(qemu_plugin_id_t id, void *argument)
{
	FILE *f = fopen(out, "w");

	(void)id, (void)argument;
	if (!f) {
		perror(out);
		return;
	}
	for (struct block *block = blocks; block; block = block->next)
		for (size_t i = 0; block->count && i < block->length; i++)
			fprintf(f, "%" PRIx64 " %" PRIu64 "\n", block->address[i], block->count);
	fclose(f);
}

int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	(void)info;
	for (int i = 0; i < argc; i++) {
		char *value = strchr(argv[i], '=');

		if (value && !strncmp(argv[i], "begin=", 6))
			begin = strtoull(value + 1, NULL, 0);
		else if (value && !strncmp(argv[i], "end=", 4))
			end = strtoull(value + 1, NULL, 0);
		else if (value && !strncmp(argv[i], "out=", 4))
			out = value + 1;
	}
	if (!begin || !end || !out) {
		fprintf(stderr, "count.so: begin=, end= and out= are wanted\n");
		return 1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, report, NULL);
	return 0;
}
