# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154
#
# For tests/vm/kernel: how the prepared kernel is made of Debian's packages, once
# the release ($abi) and the packages' version ($version) are known.

# parts ABI SERIES - the names of the five packages
parts() {
	printf '%s\n' "linux-binary-$1" "linux-modules-$1" "linux-headers-$1" "linux-source-$2" "linux-config-$2"
}

# series_of VERSION - its first two numbers
series_of() { cut -d. -f1,2 <<<"$1"; }

# Packages that arrived are kept until the kernel is ready, in a folder beside
# it, so that a download that broke off goes on where it was.
fetch() {
	local debs=$1.debs p
	local -a all=()
	for p in $(parts "$abi" "$(series_of "$version")"); do all+=("$p=$version"); done
	mkdir -p "$debs"
	at=$debs apt_in_root -- apt-get -q -o APT::Sandbox::User=root -o Acquire::Retries=3 download "${all[@]}"
}

unpack() {
	# shellcheck disable=SC2016
	at=/ in_root -- sh -ec '
		cd "$1"
		debs=$2 series=$3 abi=$4 version=$(echo "$5" | sed "s/:/%3a/g")
		mkdir x boot
		dpkg-deb -x "$debs/linux-binary-${abi}_${version}_amd64.deb" x
		dpkg-deb -x "$debs/linux-headers-${abi}_${version}_amd64.deb" x
		dpkg-deb -x "$debs/linux-config-${series}_${version}_amd64.deb" x
		dpkg-deb --fsys-tarfile "$debs/linux-modules-${abi}_${version}_amd64.deb" > boot/modules.tar
		dpkg-deb --fsys-tarfile "$debs/linux-source-${series}_${version}_all.deb" |
			tar -xO "./usr/src/linux-source-$series.tar.xz" | tar -xJ --strip-components=1 --no-same-owner
		find x -name "vmlinuz*" -type f -exec cp "{}" boot/vmlinuz ";"
		test -s boot/vmlinuz
		xz -dc "x/usr/src/linux-config-$series/config.amd64_none_amd64.xz" > .config
		find x -name Module.symvers -exec cp "{}" Module.symvers.debian ";"
		rm -rf x
	' - "$1" "$1.debs" "$(series_of "$version")" "$abi" "$version"
}

prepare() {
	# Built at /kernel, so that no path of the cache gets into it.
	# shellcheck disable=SC2016
	at=/kernel in_root --bind "$1" /kernel -- sh -ec '
		scripts/config --set-str SYSTEM_TRUSTED_KEYS "" --set-str LOCALVERSION ""
		compilers="CC=x86_64-linux-gnu-gcc-14 HOSTCC=gcc-14"
		echo "$compilers" > boot/make
		make="make -j$(nproc) $compilers LOCALVERSION=$1"
		$make olddefconfig
		grep -qx CONFIG_RUST=y .config || {
			echo "this kernel is configured without Rust (CONFIG_RUST)"
			exit 1
		}
		$make modules_prepare
		test "$($make -s kernelrelease)" = "$2"
		mv Module.symvers.debian Module.symvers
	' - "${abi#"${abi%%+*}"}" "$abi"
}

make_kernel() {
	step kernel-fetch "downloading Linux $abi (about 300 MB)" fetch "$1"
	step kernel-unpack "unpacking its source" unpack "$1"
	step kernel-prepare "preparing it for modules" prepare "$1"
	rm -rf "$1.debs"
}
