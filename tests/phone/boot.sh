#!/bin/sh
# Becomes the first process of a phone: boot.sh ROOT PHONE DATA_OPTIONS, in fresh mount, process and network namespaces.
# Everything below is mounted in these namespaces only, and goes with their last process.
set -e
root=$1 phone=$2 data_options=$3
mount -t tmpfs -o mode=755 tmpfs "$phone/mnt"
mkdir "$phone/mnt/upper" "$phone/mnt/work" "$phone/mnt/root"
mount -t overlay -o "lowerdir=$root,upperdir=$phone/mnt/upper,workdir=$phone/mnt/work" overlay "$phone/mnt/root"
cd "$phone/mnt/root"
mount -t proc proc proc
mount --bind "$phone/state/boot_id" proc/sys/kernel/random/boot_id
mount --bind "$phone/state/stat" proc/stat
mount --rbind /dev dev
mount --bind "$phone/state" phone
mount --bind "$phone/sys" sys
mount -t tmpfs -o "$data_options" tmpfs data
mkdir -p data/local/tmp
exec chroot . /usr/bin/env -i PATH=/system/bin ANDROID_DATA=/data HOME=/ /system/bin/init
