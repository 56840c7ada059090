// Loaded into npm. npm leaves out optional packages whose `engines` the Node that runs npm does not meet, and says
// nothing; among them are the binaries of our tools. They will run under the Node that comes with them, so that one's
// version is what npm has to look at.
const version = process.env.SITEAGENT_BUNDLED_NODE;
if (version) Object.defineProperty(process, "version", { value: version, enumerable: true });
