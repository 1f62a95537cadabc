import { makeNetwork, clients, server, inNamespace } from "./network.ts";
import { spawn } from "node:child_process";
makeNetwork();
const [c,a]=inNamespace("server",[process.execPath,"demo/receiver.ts",String(server.port)]);
const r=spawn(c,a,{stdio:["ignore","pipe","inherit"]}); let last=""; r.stdout.on("data",d=>{last=String(d)});
await new Promise(r=>setTimeout(r,400));
for (const cl of Object.values(clients)) {
 const [c2,a2]=inNamespace("clients",[process.execPath,"demo/sender.ts",cl.address,server.address,String(server.port),cl.name==="flooder"?"30000":"200","1"]);
 const s=spawn(c2,a2,{stdio:["ignore","pipe","inherit"]}); s.stdout.on("data",d=>console.log(cl.name,String(d).trim())); await new Promise(r=>s.on("exit",r));
}
await new Promise(r=>setTimeout(r,400)); console.log(last); r.kill();
