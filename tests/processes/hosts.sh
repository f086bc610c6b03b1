#!/bin/sh
# Runs a program by mpirun on several hosts that are one machine: each host is a network namespace with a name
# of its own, and all are joined by a switch.
#
#     hosts.sh openmpi|mpich MPIRUN HOSTS RANKS PROGRAM ARGUMENTS...
#
# HOSTS_RATE: what each host sends at most, such as 1gbit. HOSTS_CUT: a file; once it is there, the last host's
# cable is pulled. Exits with 77 where the machine does not allow it, otherwise as mpirun does.
set -eu
mpi=$1 mpirun=$2 hosts=$3 ranks=$4
shift 4

name=hosts-$$
folder=$(mktemp -d)
clean() {
    for n in $(seq "$hosts"); do
        ip netns pids "$name-$n" 2>/dev/null | xargs -r kill -KILL 2>/dev/null || true
        ip netns del "$name-$n" 2>/dev/null || true
    done
    ip netns del "$name" 2>/dev/null || true
    rm -rf "$folder"
}
trap clean EXIT

if ! { ip netns add "$name" && ip -n "$name" link add switch type bridge && ip -n "$name" link set switch up; } 2>&1
then
    echo "skipped: this machine allows no network namespaces"
    exit 77
fi
list=
for n in $(seq "$hosts"); do
    ip netns add "$name-$n"
    ip link add name eth0 netns "$name-$n" type veth peer name "port$n" netns "$name"
    ip -n "$name" link set "port$n" master switch up
    ip -n "$name-$n" addr add "10.77.0.$n/24" dev eth0
    ip -n "$name-$n" link set eth0 up
    ip -n "$name-$n" link set lo up
    # What was sent into a cable that is cut is sent again for 15 minutes by default, with no other sign of the cut.
    ip netns exec "$name-$n" sh -c 'echo 4 >/proc/sys/net/ipv4/tcp_retries2' || true
    [ -z "${HOSTS_RATE:-}" ] ||
        ip netns exec "$name-$n" tc qdisc add dev eth0 root tbf rate "$HOSTS_RATE" burst 1mb latency 100ms
    list=$list,10.77.0.$n:$((ranks / hosts))
done
list=${list#,}

# In place of ssh: HOST COMMAND.
cat >"$folder/agent" <<END
#!/bin/sh
n=\${1##*.}
shift
status=0
ip netns exec "$name-\$n" unshare --uts --ipc sh -c "hostname host-\$n; exec \$*" || status=\$?
# Through a cable that was pulled, ssh would not hear that the program at its other end has ended.
[ "\$n" != "$hosts" ] || [ ! -e "${HOSTS_CUT:-}" ] || sleep 15
exit \$status
END
chmod +x "$folder/agent"

if [ -n "${HOSTS_CUT:-}" ]; then
    {
        until [ -e "$HOSTS_CUT" ]; do
            sleep 0.1
            [ -d "$folder" ] || exit 0
        done
        ip -n "$name" link set "port$hosts" down
    } &
fi

case $mpi in
openmpi)
    # By default, mpirun notices after eight minutes that a host is gone.
    export OMPI_MCA_oob_tcp_keepalive_time=3 OMPI_MCA_oob_tcp_keepalive_intvl=1 OMPI_MCA_oob_tcp_keepalive_probes=3
    set -- --mca plm_rsh_agent "$folder/agent" --bind-to none --host "$list" -np "$ranks" "$@"
    ;;
# Its UCX would find out that it is one machine.
mpich)
    export UCX_TLS=tcp,self
    set -- -launcher rsh -launcher-exec "$folder/agent" -localhost 10.77.0.1 -hosts "$list" -np "$ranks" "$@"
    ;;
esac
# Not by exec, as the namespaces must be taken down. mpirun itself may wait for a host that is gone.
ip netns exec "$name-1" unshare --uts --ipc sh -c 'hostname host-1; exec "$@"' sh \
    timeout --kill-after=5 60 "$mpirun" "$@"
