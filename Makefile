# SPDX-License-Identifier: GPL-2.0
#
# The front door. Every target sets up what it needs the first time, says which
# step runs, and names the log when something fails. "make help" lists them all;
# the kernel's own build reads Kbuild, not this file.

.DEFAULT_GOAL := module
.PHONY: module demo unit test oracle bench shell vm clean help

# What these variables say goes on as typed: no $ in it means anything to make.
given := RUN DIR MODULE MODARGS CPUS MEM ICOUNT ACCEL TIMEOUT PACKAGES KERNEL KVER KDIR ONLY TEST T VIOLENCE LOADS N SEED QUICK
define as_typed
override $(1) := $$(value $(1))
export $(1)
endef
$(foreach v,$(given),$(if $(filter-out undefined,$(origin $(v))),$(eval $(call as_typed,$(v)))))

# They do not reach the makes below by any other way.
unexport MAKEFLAGS

module:
	@tools/module

demo:
	@tests/demo/run

unit:
	@tests/host/run

test:
	@tests/run

oracle:
	@tests/oracle/run

bench:
	@tests/bench/run

shell:
	@SHELL_ON=1 tools/vm

vm:
	@tools/vm

clean:
	@rm -rf build dlm_device.ko *.o .*.o .*.cmd kernel_edge/*.o kernel_edge/.*.cmd *.mod *.mod.c modules.order Module.symvers .module-common.o .tmp_* tests/host/target tests/oracle/target

help:
	@sed -n 's/^| \{0,1\}//p' tools/help.txt
