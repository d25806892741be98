"""The second half of `tupli demo`: three people and a drive.

Anna publishes and pushes, Ben clones and adds, both go on at the same time and it comes together;
Carla loads exactly the episodes that a paper cites.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

from tupli_repo import FileStorage, TupliDataset
from tupli_repo.cli.app import App
from tupli_repo.cli.demo_others import BENS_EPISODES, ask
from tupli_repo.cli.demo_tour import CAR, ENV_MODULE, PENDULUM, are_equal, roll, say
from tupli_repo.cli.progress import count
from tupli_repo.repository import Repository
from tupli_repo.schema import FilterEQ
from tupli_repo.schema.transfers import TransferReport

_MORE_EPISODES = 10
_PIN = "paper-fig3"
_DIGITS = 12


def share(app: App, home: Path) -> dict[str, Any]:
    """Play it in ``home``, where Anna's project is; return what came of it.

    Returns:
        What ``tupli demo --json`` tells of it; ``equal`` says whether all is as it should be.
    """
    anna, drive = home / "anna", home / "drive"
    Repository.init(drive, bare=True).close()
    with FileStorage(anna) as storage:
        first = _first_push(app, storage, drive)
        say(
            app,
            "Ben clones it in another process; the car's code is refused until he trusts it",
            "tupli clone DRIVE ben",
            f"env = {ENV_MODULE}.WindyWrapper.load(storage, CAR)",
        )
        ben = ask("ben", str(drive), str(home / "ben"))
        wanted = [str(name) for name in ben["wanted"]]
        _told(app, f"refused: it wants {', '.join(wanted)}")
        say(
            app,
            f"He records {BENS_EPISODES} episodes and publishes those that got up the hill",
            f"env = {ENV_MODULE}.WindyWrapper.load(storage, CAR, trust=[...])",
            f"tupli publish {CAR} --where 'terminated = true' -m 'follow the velocity'",
            "tupli push",
        )
        _told(app, f"pushed {count(int(ben['pushed']), 'episode')}")
        united = _meanwhile(app, storage)
        revision, digest = _pin(app, storage)
        say(
            app,
            "Carla clones in a third process, and loads what the paper cites",
            "tupli clone DRIVE carla",
            f"TupliDataset.from_pin(storage, '{revision}')",
        )
        ours = TupliDataset.from_pin(storage, revision).convert_to_d4rl_format()
    found = ask("carla", str(drive), str(home / "carla"), revision)
    same_digest = str(found.pop("digest")) == digest
    same_arrays = are_equal(ours, found)
    data = "the same, bit for bit" if same_digest and same_arrays else "DIFFERENT"
    _told(app, f"{len(ours['rewards'])} steps, digest {digest[:_DIGITS]}: {data}")
    n_first = next(one.n_episodes for one in first.names if one.name == CAR)
    n_expected = n_first + int(ben["published"]) + _MORE_EPISODES
    return {
        "drive": str(drive),
        "refused": wanted,
        "pushed_by_ben": int(ben["pushed"]),
        "united": united,
        "revision": revision,
        "digest": digest,
        "digest_equal": same_digest,
        "data_equal": same_arrays,
        "equal": same_digest
        and same_arrays
        and bool(wanted)
        and united["is_union"]
        and united["episodes"] == n_expected,
    }


def _first_push(app: App, storage: FileStorage, drive: Path) -> TransferReport:
    say(
        app,
        "Anna shares: a bare repository on a drive gets what she publishes, and nothing else",
        "tupli init --bare DRIVE",
        f"tupli publish {PENDULUM} --episodes -m 'random policy'",
        f"tupli publish {CAR} --episodes -m 'random policy'",
        "tupli remote add origin DRIVE",
        "tupli push",
    )
    for name in (PENDULUM, CAR):
        storage.publish(name, episodes=True, message="random policy")
    storage.add_remote("origin", str(drive))
    report = storage.push()
    names = count(len(report.names), "name")
    _told(app, f"pushed {names}, {count(report.n_episodes, 'episode')}")
    return report


def _meanwhile(app: App, storage: FileStorage) -> dict[str, Any]:
    """Anna publishes too, without having seen what Ben pushed."""
    say(
        app,
        f"Anna has recorded {_MORE_EPISODES} more meanwhile: what both published comes together",
        f"tupli publish {CAR} --episodes -m 'ten more'",
        "tupli sync",
    )
    cars = import_module(ENV_MODULE)
    (car,) = storage.list_benchmarks(FilterEQ(key="metadata.name", value=CAR))
    roll(cars.WindyWrapper.load(storage, car.id), range(100, 100 + _MORE_EPISODES))
    storage.publish(CAR, episodes=True, message="ten more")
    storage.sync()
    item = storage.release(CAR)
    _told(app, f"{CAR}@{item.revision[:_DIGITS]} has {count(item.n_episodes, 'episode')}")
    return {"is_union": item.is_union, "episodes": item.n_episodes, "revision": item.revision}


def _pin(app: App, storage: FileStorage) -> tuple[str, str]:
    """Freeze the episodes that got up the hill, and return how to cite them."""
    say(
        app,
        "She pins the episodes that got up the hill, to cite them in a paper",
        f"tupli pin {_PIN} --benchmark {CAR} --where 'terminated = true'",
        f"tupli publish {_PIN}",
        "tupli push",
    )
    of_car = FilterEQ(key="metadata.name", value=CAR)
    arrived = FilterEQ(key="terminated", value=True)
    dataset = TupliDataset(storage).with_benchmark_filter(of_car).with_episode_filter(arrived)
    dataset.pin(_PIN, "figure 3")
    (item,) = storage.publish(_PIN).releases
    storage.push()
    revision = f"{_PIN}@{item.revision[:_DIGITS]}"
    _told(app, f"{revision}, {count(item.n_episodes, 'episode')}, digest {item.digest}")
    return revision, item.digest


def _told(app: App, text: str) -> None:
    say(app, f"    {text}")
