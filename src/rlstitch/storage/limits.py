"""How much is read, and from which size on a file is refused: as damaged, as a mistake, or as an attack."""

MIB, GIB = 2**20, 2**30

# JSON of any kind. Ours is nested less than ten deep, and larger integers fit no array.
JSON_BYTES = 16 * MIB
JSON_DEPTH = 32
JSON_INTEGER = 2**63
JSON_CONTAINERS = 500_000  # lists and objects that are always allowed; beyond, one in 64 bytes
JSON_VALUES = 4_000_000  # values that are always allowed; beyond, one in 8 bytes
CONFIG_BYTES = 1_000_000
CONFIG_NODES = 20_000  # read in a second
MATRIX_BYTES = 512 * MIB  # matrix.json and cells.json
MATRIX_CELLS = 1_000_000  # encoders × controllers × methods
CURVE_BYTES = 16 * MIB  # the table of a training

# Zip archives, and files that are packed by gzip.
ZIP_MEMBERS = 1_000
ZIP_DIRECTORY_BYTES = MIB  # the list of the members
UNPACKED_BYTES = 48 * MIB  # always allowed; beyond it, a file may unpack to so many times its own size
UNPACKED_RATIO = 150


def unpacked_bytes(packed: int) -> int:
    """Return how many bytes a file of `packed` bytes may unpack to."""
    return UNPACKED_BYTES + UNPACKED_RATIO * packed


# Latent spaces, translations, pairs.
TENSOR_BYTES = 8 * GIB
TENSORS = 100_000  # in one file
TENSOR_HEADER_BYTES = 100_000_000  # the limit of safetensors itself
JOURNAL_BYTES = 512 * MIB
PAIRS_BYTES = 4 * GIB

# Agents and anchor sets.
MANIFEST_BYTES = MIB
WEIGHTS_BYTES = GIB
PARAMETERS = 100_000_000
OBSERVATION_VALUES = 2**22  # height × width × channels
ANCHORS = 65_536
ANCHORS_BYTES = GIB
KERNEL_ANCHORS = 8_192  # of kernel_ridge, which holds a square matrix of them

# Models of Stable-Baselines3: the members of their zip file.
SB3_DATA_BYTES = 16 * MIB
SB3_POLICY_BYTES = 2 * GIB
SB3_PICKLE_BYTES = MIB  # names, shapes and strides of a few hundred tensors
SB3_NESTING = 8  # of the values in it

# Data sets and items to encode.
DATASET_BYTES = 256 * MIB  # one file, unpacked
SOUND_FILES = 100_000
SOUND_FILE_BYTES = MIB  # in a data set
SOUND_BYTES = 256 * MIB  # a single sound
SOUND_CHUNKS = 1_000  # parts of its file
SOUND_RATES = 1_000, 1_000_000  # samples a second; beyond, resampling takes all memory
ITEMS = 5_000_000  # lines or images of one file
LINE_BYTES = MIB
LINES = 1_000_000  # that are always allowed; beyond, one a byte of the file
IMAGE_VALUES = 1 << 28  # pixels × channels of one image

# Media in reports, and what is fetched beside an agent.
README_BYTES = MIB
MEDIA_BYTES = 64 * MIB
VIDEO_BYTES = 32 * MIB  # a video in the page of a matrix
VIDEOS_BYTES = 128 * MIB  # all of them

THREADS = 1024  # of torch
VIEWERS = 16  # of `rlstitch watch`, each with environments of its own
MESSAGE_BYTES = 65_536  # what the page of `rlstitch watch` sends at a time
COUNT = 10**7  # episodes, steps, pairs that a user asks for
