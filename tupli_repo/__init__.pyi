from tupli_repo.benchmark import TupliEnvWrapper as TupliEnvWrapper
from tupli_repo.codec.env import untrusted_names as untrusted_names
from tupli_repo.codec.episode import EpisodeData as EpisodeData
from tupli_repo.codec.episode import Steps as Steps
from tupli_repo.dataset import BaseTupleParser as BaseTupleParser
from tupli_repo.dataset import NumpyTupleParser as NumpyTupleParser
from tupli_repo.dataset import TensorflowTupleParser as TensorflowTupleParser
from tupli_repo.dataset import TorchTupleParser as TorchTupleParser
from tupli_repo.dataset import TupliDataset as TupliDataset
from tupli_repo.errors import TupliError as TupliError
from tupli_repo.multiagent import TupliParallelEnvWrapper as TupliParallelEnvWrapper
from tupli_repo.multiagent import agent_episode as agent_episode
from tupli_repo.replaying import replay as replay
from tupli_repo.repository import Repository as Repository
from tupli_repo.storage import FileStorage as FileStorage
from tupli_repo.storage import TupliStorage as TupliStorage
from tupli_repo.storage import TupliStorageError as TupliStorageError
from tupli_repo.vector import TupliVectorEnvWrapper as TupliVectorEnvWrapper

__version__: str

__all__ = [
    "BaseTupleParser",
    "EpisodeData",
    "FileStorage",
    "NumpyTupleParser",
    "Repository",
    "Steps",
    "TensorflowTupleParser",
    "TorchTupleParser",
    "TupliDataset",
    "TupliEnvWrapper",
    "TupliError",
    "TupliParallelEnvWrapper",
    "TupliStorage",
    "TupliStorageError",
    "TupliVectorEnvWrapper",
    "__version__",
    "agent_episode",
    "replay",
    "untrusted_names",
]
