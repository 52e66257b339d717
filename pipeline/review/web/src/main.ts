import { leftMessage } from "./page";
import { startWorklist } from "./worklist";
import { startStudy } from "./study";
import { startLoop } from "./loop";

switch (document.body.dataset["page"]) {
  case "worklist": startWorklist(); break;
  case "study": startStudy(); break;
  case "loop": void startLoop(); break;
}
leftMessage();
