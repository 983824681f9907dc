"""What the hot paths cost on a server that has grown by idle rooms and idle users, beside one of the same kind that has not.

    python grown.py ../tests/conformance/start-homeserver            # 1,000 rooms and 1,000 users more

Both are measured in turns, so that whatever else the machine does strikes both alike. CPU per operation must not grow with
rooms and idle users: exit status 1 where a figure is above --limit times that of the small one.
"""
import argparse, asyncio, os, resource, shutil, sys, tempfile
import uvloop
import hs, workloads
from mx import gather_limited, register

FIGURES = ("one_cpu_ms", "many_cpu_ms", "r100_cpu_ms", "r100_fanout_cpu_ms", "empty_cpu_ms", "initial_cpu_ms", "join_cpu_ms")
SIZES = {
    "send": dict(n=240, senders=8, rooms=8), "delivery": dict(receivers=[100], n=60, burst=30),
    "sync": dict(rooms=30, msgs=5, empty=200, one=2), "bigroom": dict(rounds=12, members=960, conc=6, sends=10),
}
# Initial syncs of one round are less than the clock can tell.
TURNS = {"sync": 4}


async def start(a, name, work, cpus):
    S = hs.Server(name, os.path.abspath(a.start), {}, os.path.join(work, name), hs.make_tls(work), cpus)
    os.makedirs(S.work)
    await S.start(fresh=True)
    return S


async def grow(S, rooms, users):
    idle = await gather_limited(8, [lambda i=i: register(S.h, "idle%d" % i) for i in range(users)])
    owner = idle[0]   # not one of those whose requests are measured: a room more of theirs is not idle
    await gather_limited(8, [lambda i=i: owner.create(name="idle %d" % i) for i in range(rooms)])


async def measure(S, w, q, into):
    out = await w.measure(S, SIZES[w.name], q)
    if out["bad"]: sys.exit("%s of %s: %s" % (w.name, S.name, out["bad"]))
    for k in FIGURES:
        if k in out: into.setdefault(w.name + "." + k, {}).setdefault(S.name, []).append(out[k])


async def amain(a):
    cpus = sorted(os.sched_getaffinity(0))
    scpu = set(cpus[:-1]) if len(cpus) > 1 else None
    if scpu: os.sched_setaffinity(0, {cpus[-1]})
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    work, servers, found = tempfile.mkdtemp(prefix="hsgrown-"), [], {}
    try:
        for name in ("small", "grown"): servers.append(await start(a, name, work, scpu))
        await grow(servers[1], a.rooms, a.users)
        for w in (w() for w in workloads.ALL):
            if w.name not in SIZES: continue
            for S in servers: await w.setup(S, SIZES[w.name])
            for q in range(1 + a.rounds * TURNS.get(w.name, 1)):   # the first is warming up
                for S in servers if q % 2 else servers[::-1]:
                    await measure(S, w, q, found if q else {})
    finally:
        for S in servers: await S.stop()
        shutil.rmtree(work, ignore_errors=True)
    worst = 0.0
    print("| figure | small | with %d rooms and %d users more | ratio |\n|---|---:|---:|---:|" % (a.rooms, a.users))
    for k, of in found.items():
        b, c = (sum(of[S.name]) / len(of[S.name]) for S in servers)
        worst = max(worst, c / b if b else 0.0)
        print("| %s | %.3f | %.3f | %.2f |" % (k, b, c, c / b if b else float("nan")))
    return worst


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("start"); ap.add_argument("--rooms", type=int, default=1000); ap.add_argument("--users", type=int, default=1000)
    ap.add_argument("--rounds", type=int, default=8); ap.add_argument("--limit", type=float, default=1.2)
    a = ap.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as r:
        sys.exit(1 if r.run(amain(a)) > a.limit else 0)


if __name__ == "__main__":
    main()
