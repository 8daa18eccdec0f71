import { suiteOf } from "./matrix.ts";

suiteOf("replace-root-volume");
