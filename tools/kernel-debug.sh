# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154
#
# For tests/vm/kernel: how the debug kernel is made, of the source of the prepared
# kernel in $source and of debug.config.

# Links, since nothing of a source is written to; what was built in it is left behind.
copy_source() {
	cp -al "$source/." "$1"
	rm -rf "$1/boot"
	at=/kernel in_root --bind "$1" /kernel -- make LLVM=-19 mrproper
}

configure() {
	# shellcheck disable=SC2016
	at=/kernel in_root --bind "$1" /kernel -- sh -ec '
		make LLVM=-19 tinyconfig
		scripts/kconfig/merge_config.sh -m .config "$1"
		make LLVM=-19 olddefconfig
		if grep -E "^(# )?CONFIG_" "$1" | grep -vxFf .config; then
			echo "debug.config asks for the above, which this kernel does not let itself be configured to:"
			echo "renamed, or in need of something that is not set"
			exit 1
		fi
	' - "$here/debug.config"
}

# Of what was built stays what boots and what modules are built with.
compile() {
	# shellcheck disable=SC2016
	at=/kernel in_root --bind "$1" /kernel -- sh -ec '
		make -j$(($(nproc) + 1)) LLVM=-19
		mkdir boot
		cp arch/x86/boot/bzImage boot/vmlinuz
		echo LLVM=-19 > boot/make
		find . \( -path ./scripts -o -path ./tools/objtool \) -prune -o -type f \( -name "*.o" -o -name "*.a" -o \
			-name ".*.cmd" -o -name ".tmp_*" -o -name vmlinux -o -name "vmlinux.*o*" -o -name "vmlinux.bin*" -o -name bzImage \) \
			-exec rm {} +
	' - "$1"
}

make_debug_kernel() {
	step debug-source "copying the source of ${source##*/}" copy_source "$1"
	step debug-configure "configuring the debug kernel" configure "$1"
	step debug-compile "building it (about 20 minutes)" compile "$1"
}
