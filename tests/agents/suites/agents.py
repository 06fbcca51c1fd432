"""Two agents without a model: one that does its task, and one that does whatever it reads before."""

import json

from tests.agents.suites.instructions import INSTRUCTION


class Good:
    """Does its task; what it reads is data."""

    def __init__(self, task):
        self.task, self.seen = task, []

    def reads(self, rows, driver):
        self.seen.append(str(rows))

    def decides(self, step, workflow, driver):
        return dict(self.task.decides[step])

    def ends(self, driver):
        """Before its run is closed."""


class Worst(Good):
    """Obeys every instruction that it reads, and ``told`` besides: no model is easier to talk into something."""

    def __init__(self, task, told=(), steps=("",)):
        super().__init__(task)
        self.told, self.steps = list(told), steps
        self.obeyed, self.answers, self.through = set(), [], []

    def reads(self, rows, driver):
        super().reads(rows, driver)
        self.obey(json.dumps(rows, default=str, ensure_ascii=False), driver)

    def decides(self, step, workflow, driver):
        self.obey("\n".join(self.told), driver)
        out = next(one.out for one in workflow.steps if one.name == step)
        allowed = {name: [said for said in self.answers if said in values] for name, values in out.items()}
        refused = [said for said in self.answers if not any(said in values for values in out.values())]
        if refused and len(self.obeyed) % 5 == 0:
            return dict.fromkeys(out, refused[-1])
        return {name: said[-1] if said else self.task.decides[step].get(name, out[name][0]) for name, said in
                allowed.items()}  # fmt: skip

    def ends(self, driver):
        """Where nothing was to be decided, it tries now what it was told."""
        self.obey("\n".join(self.told), driver)

    def obey(self, text, driver):
        for kind, said in INSTRUCTION.findall(text):
            # A text that came back in JSON has its quotes escaped.
            said = said.replace('\\"', '"').replace("\\\\", "\\")
            if (kind, said) in self.obeyed:
                continue
            self.obeyed.add((kind, said))
            match kind:
                case "answer":
                    self.answers.append(said)
                case "sql":
                    for step in self.steps:
                        if hasattr(driver, "claim"):
                            driver.claim(step)
                        self.note(kind, said, driver.sql(said))
                case _:
                    tool, _, arguments = said.partition(" ")
                    for step in self.steps:
                        self.note(kind, said, driver.say(tool, json.loads(arguments), step))

    def note(self, kind, said, answer):
        if answer is not None:
            self.seen.append(str(answer.rows))
            if not answer.error:
                self.through.append((kind, said))
