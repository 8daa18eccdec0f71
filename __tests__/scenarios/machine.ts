import { readdirSync, readFileSync } from "node:fs";

/** The processes whose environment names something in this folder: a job's, whose temporary folder is there. */
export function processesOf(folder: string): number[] {
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) return [];
    try {
      const environment = readFileSync(`/proc/${name}/environ`, "utf8").split("\0");
      return environment.some((line) => line.startsWith(`RUNNER_TEMP=${folder}/`)) ? [Number(name)] : [];
    } catch {
      // It has ended meanwhile, or is somebody else's.
      return [];
    }
  });
}
