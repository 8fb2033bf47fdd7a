#!/bin/bash
# build.sh ASSETS WORK OUT: the droplet's root filesystem and its engine's images, from Debian packages alone.
# Needs root, debootstrap and a WORK folder on a disk of its own kind (not on an overlay). Makes OUT/droplet.tar
# (root filesystem) and OUT/seed.tar (/var/lib/docker with the stack's images). "== " lines are for people.
set -euo pipefail
assets=$1 work=$2 out=$3
if [ -z "${SANDBOX_UNSHARED:-}" ]; then
    # Everything mounted or started in here ends with this process, however that ends.
    exec env SANDBOX_UNSHARED=1 unshare --mount --pid --fork --kill-child --propagation private "$BASH" "$0" "$@"
fi
mount -t proc proc /proc
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin
suite=trixie
declare -A packages=(
    [droplet]="systemd-sysv openssh-server docker.io docker-cli docker-compose lxcfs fuse3 iproute2 iptables procps
        curl python3 ca-certificates sudo util-linux kmod"
    [postgres]="postgresql-17" [redis]="redis-server" [caddy]="caddy" [prometheus]="prometheus"
    [service]="python3 python3-psycopg2"
)

say() { echo "== $*"; }

base() {
    say "Debian $suite base system (waits for the package mirror)"
    debootstrap --variant=minbase --include=ca-certificates "$suite" "$work/base" ${OPSCTL_SANDBOX_MIRROR:-} \
        > "$work/debootstrap.log" 2>&1 || { tail -n 20 "$work/debootstrap.log" >&2; return 1; }
    mv "$work/base/var/lib/apt/lists" "$work/lists"
    mkdir "$work/base/var/lib/apt/lists"
    rm -rf "$work"/base/var/cache/apt/* "$work"/base/var/log/* "$work"/base/usr/share/{doc,man,info,locale}/*
    mkdir -p "$work"/base/var/cache/apt/archives/partial "$work"/base/var/log/apt
    printf '%s\n' force-unsafe-io path-exclude=/usr/share/{doc,man,info,locale}/'*' > "$work/base/etc/dpkg/dpkg.cfg.d/slim"
    printf '%s\n' 'APT::Install-Recommends "false";' 'Acquire::Languages "none";' 'Dir::Cache::pkgcache "";' \
        'Dir::Cache::srcpkgcache "";' > "$work/base/etc/apt/apt.conf.d/90slim"
    mkdir -p "$work/base/etc/postgresql-common"
    echo 'create_main_cluster = false' > "$work/base/etc/postgresql-common/createcluster.conf"
    : > "$work/base/etc/resolv.conf"
}

# One more layer on the base, in LAYER/up; what is mounted over it stays out of the layer.
layer() {
    local name=$1 root="$work/$1/root"
    say "packages of $name"
    mkdir -p "$work/$name"/{up,wk,root,archives/partial}
    mount -t overlay overlay -o "lowerdir=$work/base,upperdir=$work/$name/up,workdir=$work/$name/wk" "$root"
    mount --bind "$work/$name/archives" "$root/var/cache/apt/archives"
    mount --bind "$work/lists" "$root/var/lib/apt/lists"
    mount --bind /etc/resolv.conf "$root/etc/resolv.conf"
    mount -t proc proc "$root/proc"
    mount -t tmpfs tmpfs "$root/tmp"
    mount -t tmpfs tmpfs "$root/run"
    mount -t tmpfs tmpfs "$root/usr/local/bin"  # a policy that starts no service, gone with the mount
    printf '#!/bin/sh\nexit 101\n' > "$root/usr/local/bin/policy-rc.d"
    chmod +x "$root/usr/local/bin/policy-rc.d"
    # shellcheck disable=SC2086 # a list of words
    POLICYRCD=/usr/local/bin/policy-rc.d chroot "$root" apt-get -o APT::Sandbox::User=root install -y -q ${packages[$name]} \
        > "$work/$name.log" 2>&1 || { tail -n 20 "$work/$name.log" >&2; return 1; }
    "finish_$name" "$root" >> "$work/$name.log" 2>&1 || { tail -n 20 "$work/$name.log" >&2; return 1; }
}

install_script() { install -D -m 0755 "$assets/images/$2" "$1$3"; }

finish_postgres() {
    # Compiled queries need 160 MB of LLVM; on a small droplet they cost more than they bring.
    rm -rf "$1"/usr/lib/*/{libLLVM*,libz3*} "$1"/usr/lib/postgresql/17/lib/{bitcode,llvmjit*}
    rm -rf "$1/var/lib/postgresql"/*
    sed -i 's/^#jit = on/jit = off/' "$1/usr/share/postgresql/17/postgresql.conf.sample"
    sed -i "s/^#listen_addresses = 'localhost'/listen_addresses = '*'/" "$1/usr/share/postgresql/17/postgresql.conf.sample"
    install_script "$1" postgres-entrypoint.sh /usr/local/lib/entrypoint.sh
}
finish_redis() {
    rm -f "$1/etc/redis/redis.conf"
    mkdir -p "$1/data"
    chroot "$1" chown redis: /data
    install_script "$1" redis-entrypoint.sh /usr/local/lib/entrypoint.sh
}
finish_caddy() { :; }
finish_prometheus() { rm -rf "$1"/usr/bin/promtool "$1"/usr/share/javascript; mkdir -p "$1/data"; }
finish_service() {
    install -D -m 0644 "$assets/images/service" "$1/app/service.py"
    install -D -m 0644 "$assets/images/health" "$1/app/health.py"
    chroot "$1" python3 -m compileall -q /usr/lib/python3.13 /app
}
finish_droplet() {
    mkdir -p "$1/opt" "$1/usr/local/lib/sandbox"
    cp -r "$assets/droplet/Dev-Tools" "$1/opt/"
    mv "$1/opt/Dev-Tools/config/env/sandbox.env" "$1/opt/Dev-Tools/config/env/.env"
    cp "$assets"/droplet/bin/{init,services} "$1/usr/local/lib/sandbox/"
    cp "$assets"/droplet/bin/{droplet-service,reboot} "$1/usr/local/sbin/"
    cp "$assets/droplet/setup.sh" "$1/tmp/setup.sh"
    chroot "$1" bash /tmp/setup.sh
}

pack() {
    tar -C "$2" --numeric-owner --xattrs --xattrs-include=security.capability --sort=name --one-file-system \
        --exclude='./var/cache/apt/*' --exclude='./var/lib/apt/lists/*' --exclude='./var/log/*' --exclude='./run/*' \
        --exclude='./tmp/*' --exclude='./proc/*' --exclude='./sys/*' --exclude='./dev/*' \
        -cf "$1.part" .
    mv "$1.part" "$1"
}

pack_layers() {
    local name
    mkdir -p "$work/layers"
    for name in base/ postgres/up redis/up caddy/up prometheus/up service/up; do
        pack "$work/layers/${name%%/*}.tar" "$work/$name"
    done
}

# The droplet's own engine loads the images, so that what it finds is what it would have made.
seed() {
    local root="$work/droplet/root" engine
    say "loading the images into an engine's data folder"
    mkdir -p "$work/seed" "$root/var/lib/docker" "$root/mnt"
    mount --bind "$work/seed" "$root/var/lib/docker"
    mount --bind "$work/layers" "$root/mnt"
    mount --rbind /dev "$root/dev"
    mount --rbind /sys "$root/sys"
    cp "$assets/images/pack" "$root/tmp/pack.py"
    # In a network namespace of its own: an engine told to have no bridge deletes the docker0 it finds.
    unshare --net chroot "$root" dockerd --bridge=none --iptables=false --ip6tables=false -H unix:///run/seed.sock \
        > "$work/dockerd.log" 2>&1 &
    engine=$!
    for _ in $(seq 300); do
        chroot "$root" docker -H unix:///run/seed.sock version > /dev/null 2>&1 && break
        kill -0 "$engine" 2>/dev/null || break
        sleep 0.1
    done
    chroot "$root" bash -o pipefail -c 'python3 /tmp/pack.py /mnt "$(dpkg --print-architecture)" | docker -H unix:///run/seed.sock load -q' \
        > "$work/load.log" 2>&1 || { tail -n 5 "$work/load.log" "$work/dockerd.log" >&2; return 1; }
    kill "$engine"
    wait "$engine" || true
    umount "$root/var/lib/docker" "$root/mnt"
    say "packing the images"
    # Only the images: networks, volumes and the engine's id are every droplet's own.
    tar -C "$work/seed" --numeric-owner --xattrs --xattrs-include='*' -cf "$out/seed.tar.part" image overlay2
    mv "$out/seed.tar.part" "$out/seed.tar"
}

mkdir -p "$work" "$out"
base
( for name in postgres redis caddy; do layer "$name"; done ) & first=$!
( for name in prometheus service; do layer "$name"; done ) & second=$!
layer droplet
wait "$first"
wait "$second"
pack_layers & packing=$!
say "packing the droplet's root filesystem"
pack "$out/droplet.tar" "$work/droplet/root"
wait "$packing"
seed
