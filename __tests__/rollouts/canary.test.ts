import { suiteOf } from "./matrix.ts";

suiteOf("canary");
