// SPDX-License-Identifier: GPL-2.0
/*
 * A plugin of the emulator: how often each instruction of the guest is executed between two
 * addresses of its programs, the entries of two functions.
 *
 *	-plugin count.so,begin=0xADDRESS,end=0xADDRESS,out=FILE[,caches=on]
 *
 * At the guest's end FILE has a line "ADDRESS COUNT MISSES MISSES" for each instruction that was,
 * in no order and perhaps more than one for the same. With caches=on the misses are those of two
 * caches such as processors have, of 32 KiB and of 1 MiB, by what the instruction reads and writes;
 * instructions themselves are not looked at. Else they are zero.
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
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *,
				      void (*)(unsigned int, uint32_t, uint64_t, void *),
				      int flags, int rw, void *);
enum { NO_REGISTERS, READS_AND_WRITES = 3 };

int qemu_plugin_version = PLUGIN_VERSION;

/* ---- Caches -------------------------------------------------------------------------------- */

enum { LINE_BITS = 6, MAX_WAYS = 16 };

/* One level: in each set some lines, the one that was used last first. */
struct cache {
	unsigned int set_bits, ways;
	uint64_t (*sets)[MAX_WAYS];
};

static struct cache level1 = { .set_bits = 6, .ways = 8 };
static struct cache level2 = { .set_bits = 10, .ways = 16 };

/* Brings a line to the front of its set; tells whether it was there. */
static bool touch(struct cache *cache, uint64_t line)
{
	uint64_t *set = cache->sets[line & ((1U << cache->set_bits) - 1)];
	unsigned int way = 0;
	bool hit;

	while (way < cache->ways - 1 && set[way] != line)
		way++;
	hit = set[way] == line;
	memmove(set + 1, set, way * sizeof(*set));
	set[0] = line;
	return hit;
}

/* ---- Instructions -------------------------------------------------------------------------- */

struct instruction {
	uint64_t address, misses1, misses2;
};

/* Instructions that are executed one after the other. */
struct block {
	struct block *next;
	uint64_t count;
	size_t length;
	struct instruction instructions[];
};

static struct block *blocks;
static uint64_t begin, end;
static const char *out;
static bool caches, counting;

static void executed(unsigned int cpu, void *argument)
{
	struct block *block = argument;

	(void)cpu;
	if (block->instructions[0].address == begin)
		counting = true;
	else if (block->instructions[0].address == end)
		counting = false;
	if (counting)
		block->count++;
}

static void accessed(unsigned int cpu, uint32_t info, uint64_t address, void *argument)
{
	struct instruction *instruction = argument;
	uint64_t line = address >> LINE_BITS;

	(void)cpu, (void)info;
	if (touch(&level1, line))
		return;
	instruction->misses1 += counting;
	instruction->misses2 += !touch(&level2, line) && counting;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t length = qemu_plugin_tb_n_insns(tb);
	struct block *block = calloc(1, sizeof(*block) + length * sizeof(*block->instructions));

	(void)id;
	if (!block)
		abort();
	block->length = length;
	for (size_t i = 0; i < length; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		struct instruction *instruction = &block->instructions[i];

		instruction->address = qemu_plugin_insn_vaddr(insn);
		if (caches)
			qemu_plugin_register_vcpu_mem_cb(insn, accessed, NO_REGISTERS,
							 READS_AND_WRITES, instruction);
	}
	block->next = blocks;
	blocks = block;
	qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, NO_REGISTERS, block);
}

static void report(qemu_plugin_id_t id, void *argument)
{
	FILE *f = fopen(out, "w");

	(void)id, (void)argument;
	if (!f) {
		perror(out);
		return;
	}
	for (struct block *block = blocks; block; block = block->next) {
		for (size_t i = 0; block->count && i < block->length; i++) {
			struct instruction *instruction = &block->instructions[i];

			fprintf(f, "%" PRIx64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
				instruction->address, block->count, instruction->misses1,
				instruction->misses2);
		}
	}
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
		else if (!strcmp(argv[i], "caches=on"))
			caches = true;
	}
	if (!begin || !end || !out) {
		fprintf(stderr, "count.so: begin=, end= and out= are wanted\n");
		return 1;
	}
	level1.sets = calloc(1U << level1.set_bits, sizeof(*level1.sets));
	level2.sets = calloc(1U << level2.set_bits, sizeof(*level2.sets));
	if (!level1.sets || !level2.sets)
		return 1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, report, NULL);
	return 0;
}
