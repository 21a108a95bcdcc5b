"""Import an agent that another library trained, evaluate it in its world and save it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from rlstitch.agents import Agent, AgentCard, save_agent
from rlstitch.agents.models import agent_of_model
from rlstitch.agents.sb3.importing import ModelOptions
from rlstitch.api.called_with import called_with
from rlstitch.api.hub.model import PREFIX, Origin, hub_model
from rlstitch.api.options import ProgressOptions
from rlstitch.envs import World
from rlstitch.errors import InvalidInputError
from rlstitch.jobs.resources import torch_threads
from rlstitch.rollouts.evaluation import Evaluation, evaluate
from rlstitch.storage.workspace import AGENTS, reserved_agent


@dataclass(frozen=True)
class ImportOutcome:
    """An imported agent, its evaluation and its folder. Its text is what the command prints."""

    agent: Agent
    evaluation: Evaluation | None
    folder: Path
    origin: Origin | None = None
    """Where on the Hugging Face Hub the model was found."""

    def __str__(self) -> str:
        card = self.agent.card
        lines = [f"origin   {self.origin}"] if self.origin else []
        lines += [f"model    {card.training.algorithm if card.training else ''}", f"world    {_words(card.world)}"]
        if card.world.frame_stack > 1:
            before = "zeros" if card.world.padding == "zeros" else "copies of it"
            lines.append(
                f"stack    {card.world.frame_stack} observations; before the first: {before} (--world padding=...)"
            )
        if self.evaluation is not None:
            summary = self.evaluation.summary()
            mean = summary.mean
            success = "" if summary.success is None else f", success {summary.success.estimate:.1%}"
            lines.append(f"return   {mean.estimate:.3f} [{mean.low:.3f}, {mean.high:.3f}]{success}")
        return "\n".join([*lines, f"agent    {self.folder}"])


@dataclass(frozen=True)
class ImportOptions(ModelOptions, ProgressOptions):
    """Arguments of `import_agent`."""

    model: str | Path | BaseAlgorithm
    _: KW_ONLY
    name: str
    world: World
    file: str | None = None
    revision: str | None = None
    normalization: str | Path | VecNormalize | None = None
    episodes: int = 100
    seed: int = 0
    force: bool = False
    agents: Path = AGENTS


@torch_threads()
@called_with(ImportOptions)
def import_agent(options: ImportOptions) -> ImportOutcome:
    """Make an agent of a model of Stable-Baselines3, sb3-contrib or CleanRL, without running code out of its file.

    Args:
        model: the zip that `model.save` of Stable-Baselines3 wrote, its live model, or a `.cleanrl_model`; or
            `hub:OWNER/NAME`, a repository of the Hugging Face Hub that holds one, as RL-Zoo3 writes them: the file is
            compared with the sha256 that the Hub states, and `vec_normalize.pkl` beside it is taken as `normalization`.
        name: of the agent.
        world: what the model was trained in; observations and actions are compared with the model's. Where it has one
            observation and a zip says that the model saw several, these are stacked; where it does not say what fills
            the stack at the start of an episode, zeros do, as in VecFrameStack. CleanRL's files say neither: both are
            stated here.
        file: of the repository; None: its only zip.
        revision: branch, tag or commit of the repository; None: the newest commit. The card states the commit.
        activation: of the hidden layers, where the file names no class of torch's.
        extractor: name of an extractor of the user's own (entry point `rlstitch.extractors`) instead of NatureCNN.
        extractor_arguments: its keyword arguments, beside those that the file prints in plain values.
        split: number of hidden layers that the encoder takes, of vectors; None: all.
        temperature: of the softmax over DQN's action values, where actions are sampled.
        normalization: of vectors: what `VecNormalize.save` wrote, a VecNormalize, or an npz (see
            `rlstitch.agents.sb3.statistics.read_statistics`). None, or `none`: a live model's own, otherwise there was
            none. CleanRL's files do not say: there one of them is given.
        episodes: of the evaluation that shows whether the world is the right one; 0: none.
        seed: of the evaluation.
        force: replace an agent of the same name.
        agents: where the agent is saved.
        progress: shows how far each stage of the work is; None: nothing is shown.

    Raises:
        MissingExtraError: for a repository, without the extra `hub`.
        ArtefactError: where the file is missing, damaged, or asks for code to be run, or the Hub refuses.
        IncompatibleError: where the model's observations or actions are not the world's.
        InvalidInputError: for a structure that is not known, or where an agent of that name is there already.
        UnknownNameError: for an unknown environment, variation, task or extractor.
    """
    model, normalization, progress = options.model, options.normalization, options.reporter
    with ExitStack() as stack:
        folder = stack.enter_context(reserved_agent(options.name, agents=options.agents, force=options.force))
        if options.episodes < 0:
            raise InvalidInputError(f"episodes: expected 0 or more, found {options.episodes}")
        origin = None
        if isinstance(model, str) and model.startswith(PREFIX):
            progress.stage(f"fetching {model}")
            fetched = stack.enter_context(hub_model(model.removeprefix(PREFIX), options.file, options.revision))
            model, origin, normalization = fetched.path, fetched.origin, normalization or fetched.statistics
        elif options.file or options.revision:
            raise InvalidInputError(f"file, revision: expected none where the model is no {PREFIX}OWNER/NAME")
        progress.stage(f"reading {type(model).__name__ if isinstance(model, BaseAlgorithm) else Path(model).name}")
        agent = agent_of_model(
            model, name=options.name, world=options.world, normalization=normalization, options=options
        )
        if origin is not None and agent.card.training is not None:
            settings = {**agent.card.training.hyperparameters, "origin": asdict(origin)}
            training = agent.card.training.model_copy(update={"hyperparameters": settings})
            agent.card = agent.card.model_copy(update={"training": training})
        outcome = None
        if options.episodes:
            playing = progress.stage("playing", "episodes")
            outcome = evaluate(agent, episodes=options.episodes, seed=options.seed, on_progress=playing)
            agent.card = _with_returns(agent.card, outcome)
        save_agent(agent, folder, force=options.force)
    return ImportOutcome(agent, outcome, folder, origin)


def world_of(environment: str, variation: str, task: str, others: Mapping[str, object]) -> World:
    """Return the world of these fields; `others` are further fields by name.

    Raises:
        InvalidInputError: for a field that is unknown, given twice or of the wrong kind.
        UnknownNameError: for an unknown variation or task.
    """
    named = {"environment": environment, "variation": variation, "task": task}
    if twice := sorted(named.keys() & others.keys()):
        raise InvalidInputError(f"world: {twice[0]} is given by an argument of its own")
    return World.from_dict({**named, **others})


def _with_returns(card: AgentCard, outcome: Evaluation) -> AgentCard:
    if card.training is None:
        return card
    summary = outcome.summary()
    results = {
        "return_mean": summary.mean.estimate,
        "return_interval": (summary.mean.low, summary.mean.high),
        "success_rate": None if summary.success is None else summary.success.estimate,
        "episodes": len(outcome.returns),
    }
    return card.model_copy(update={"training": card.training.model_copy(update=results)})


def _words(world: World) -> str:
    return f"{world.environment}, {world.look}, {world.task}"
